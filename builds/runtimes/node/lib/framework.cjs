// Stands in for @google-cloud/functions-framework: the wrapper serves what is registered here. It comes before an installed
// one: there is one server in a process, and it is ours. What a function lists that package for is there all the same:
// Express, which an HTTP function gets its request and response from.

const { dirname, join } = require("node:path");
const Module = require("node:module");

const NAME = "@google-cloud/functions-framework";

/** What was registered: the kind of function (`http` or `cloudEvent`) and its handler, by name. */
const registered = new Map();

const framework = {
  http: (name, handler) => void registered.set(name, { kind: "http", handler }),
  cloudEvent: (name, handler) => void registered.set(name, { kind: "cloudEvent", handler: silent(handler) }),
  event: () => missing("event"),
  typed: () => missing("typed"),
};

/** Return `handler` with what it returns dropped: the framework sends no event of it. */
function silent(handler) {
  return async (event, context) => {
    await handler(event, context);
  };
}

function missing(name) {
  throw new Error(`functions-framework has no '${name}' here: the wrapper stands in for it, with http and cloudEvent`);
}

/** Have `require` and, where package.json lists the package, `import` find the stand-in. */
function standIn(folder) {
  const load = Module._load;
  Module._load = function (request, ...rest) {
    return request === NAME ? framework : load.call(this, request, ...rest);
  };
  if (lists(folder)) Module.register?.("./framework-hook.js", `file://${join(__dirname, "x")}`);
}

function lists(folder) {
  try {
    return NAME in (require(join(folder, "package.json")).dependencies ?? {});
  } catch {
    return false;
  }
}

/** Return the function's Express: the framework's own, or one that it lists itself; undefined where there is none. */
function express(folder) {
  const near = Module.createRequire(join(folder, "x"));
  for (const from of [() => dirname(near.resolve(NAME)), () => folder]) {
    try {
      return Module.createRequire(join(from(), "x"))("express");
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  return undefined;
}

module.exports = { framework, registered, standIn, express };
