// Told to Node by `framework.cjs`: whoever imports the framework gets its stand-in.

const NAME = "@google-cloud/functions-framework";

export function resolve(specifier, context, next) {
  if (specifier !== NAME) return next(specifier, context);
  return { url: new URL("./framework-module.js", import.meta.url).href, format: "module", shortCircuit: true };
}
