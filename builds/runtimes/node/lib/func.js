// Functions of Knative's func: `handle(context, event)`, the other way round than ours. Their package.json lists
// faas-js-runtime, which would serve them; that says how they want to be called.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const RUNTIME = "faas-js-runtime";

/** Tell whether the function in `folder` is written for func. */
export function isFunc(folder) {
  try {
    return RUNTIME in (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).dependencies ?? {});
  } catch {
    return false;
  }
}

/** Return func's `handle(context, event)` as one of ours; its context is as much of func's as events need. */
export function ofFunc(handle) {
  return (event, context) =>
    handle(
      {
        log: context.log,
        cloudEvent: event,
        body: event.data,
        method: "POST",
        cloudEventResponse: (data) => response({ data }, context),
      },
      event,
    );
}

/** Return func's builder of an event: each attribute is a call, and `response()` ends it. */
function response(given, context) {
  const made = { response: () => context.event({ type: "response", ...given }), version: () => made };
  for (const name of ["id", "source", "type"]) {
    made[name] = (value) => {
      given[name] = value;
      return made;
    };
  }
  return made;
}
