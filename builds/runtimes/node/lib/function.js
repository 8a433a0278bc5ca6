// The user's function, found and checked. What is wrong with it is told in one line that names the next step.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import framework from "./framework.cjs";
import { isFunc, ofFunc } from "./func.js";

/** The function cannot be loaded; where its own code threw, that is the cause. */
export class LoadError extends Error {}

/**
 * Import the function that `entrypoint` names (`file.export`, a path without its extension; or `file.name`, as which it is
 * registered); return its kind, which is `event` or `http`, and itself; throw `LoadError`.
 */
export async function load(entrypoint, folder) {
  const dot = entrypoint.lastIndexOf(".");
  const [path, name] = [entrypoint.slice(0, Math.max(dot, 0)), entrypoint.slice(dot + 1)];
  if (!path || !name) {
    throw new LoadError(`the entrypoint '${entrypoint}' is not <file>.<export>, such as index.handle`);
  }
  const file = [".js", ".mjs", ".cjs"].map((extension) => resolve(folder, path + extension)).find(existsSync);
  if (!file) throw new LoadError(`there is no ${path}.js, .mjs or .cjs in ${folder}`);
  framework.standIn(folder);
  const module = await importing(file);
  const known = framework.registered.get(name);
  if (known) return { kind: known.kind === "http" ? "http" : "event", handle: known.handler };
  const found = exportOf(module, name);
  if (found === undefined) throw new LoadError(`${file} exports no '${name}', and registers none`);
  if (typeof found !== "function") throw new LoadError(`'${entrypoint}' is no function but a ${typeof found}`);
  if (found.length > 2) {
    throw new LoadError(`'${entrypoint}' takes ${found.length} parameters; it must take (event, context), or (event)`);
  }
  return { kind: "event", handle: isFunc(folder) ? ofFunc(found) : found };
}

/** Return what HTTP functions are served with; throw `LoadError`. */
export function expressOf(entrypoint, folder) {
  const express = framework.express(folder);
  if (express) return express;
  throw new LoadError(
    `'${entrypoint}' is an HTTP function, which takes Express's request: is @google-cloud/functions-framework in package.json?`,
  );
}

async function importing(file) {
  try {
    return await import(pathToFileURL(file));
  } catch (error) {
    if (["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(error?.code)) {
      const what = error.message.split("\n", 1)[0];
      throw new LoadError(`${file} imports what is not there: ${what}; is it in package.json?`, { cause: error });
    }
    throw new LoadError(`${file} cannot be loaded: ${error}`, { cause: error });
  }
}

/** Return an export by name, of either kind of module; or the module, where that is a function itself. */
function exportOf(module, name) {
  if (name in module) return module[name];
  const whole = module.default;
  return typeof whole === "function" && whole[name] === undefined ? whole : whole?.[name];
}
