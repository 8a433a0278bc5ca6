// What a function is told beside the event: who it is, how long it has, where to log. Made by `delivery.js`, once
// for each event.

import { createHash } from "node:crypto";

import { event } from "./event.js";

export const RESULT = "dev.knative-lambda.function.result";

/** Return the second argument of `handle(event, context)` for the event `cause`. */
export function contextOf(cause, traceparent, settings, log) {
  const { name, tenant, revision } = settings;
  return Object.freeze({
    name,
    tenant,
    revision,
    deadline: new Date(Date.now() + settings.timeout * 1000),
    traceparent,
    log,
    /**
     * Return an event for the function to return. Its id follows from the event that is handled and from `type`, so
     * that an event that is delivered twice is answered with the same id twice.
     */
    event({ type, data, ...attributes }) {
      const made = {
        specversion: "1.0",
        id: derivedId(cause, type),
        source: `/knative-lambda/functions/${tenant}/${name}`,
        type,
        subject: cause.subject,
        time: new Date().toISOString(),
        causationid: cause.id,
        traceparent: cause.traceparent || traceparent || undefined,
        ...attributes,
      };
      return event(Object.fromEntries(Object.entries(made).filter(([, value]) => value != null)), data);
    },
  });
}

/** Return the id of the event of type `kind` that `cause` causes (no attribute can hold the separator). */
function derivedId(cause, kind) {
  return createHash("sha256").update(`${cause.source}\0${cause.id}\0${kind}`).digest("hex");
}

/** Return the trace id in a W3C `traceparent`, or nothing. */
export function traceId(traceparent) {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(traceparent)?.[1] ?? "";
}
