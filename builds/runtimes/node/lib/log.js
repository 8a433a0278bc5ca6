// Lines of JSON on standard error, each with the event that was being handled. `serve.js` makes the logger;
// `delivery.js` says which event it is.

import { AsyncLocalStorage } from "node:async_hooks";

/** What to print with every line: of the event that this chain of calls handles. */
export const handling = new AsyncLocalStorage();

/** Return a logger whose lines all have the fields `always`. */
export function logger(always) {
  const at = (level) => (message, fields = {}) => {
    const time = new Date().toISOString();
    const line = { time, level, message: String(message), ...always, ...handling.getStore(), ...fields };
    process.stderr.write(`${JSON.stringify(line)}\n`);
  };
  return Object.freeze({ debug: at("DEBUG"), info: at("INFO"), warn: at("WARNING"), error: at("ERROR") });
}

/** Return what there is to say of anything that was thrown. */
export function traceOf(thrown) {
  if (!(thrown instanceof Error)) return { exception: typeof thrown, traceback: String(thrown) };
  return { exception: thrown.name, traceback: thrown.stack };
}
