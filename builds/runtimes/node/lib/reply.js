// What is answered: a function's return value, or a problem, as status, headers and body. A body that is no CloudEvent
// would make a broker deliver the event again, so a 2xx is either empty or one event in binary mode.

import { STATUS_CODES } from "node:http";

import { isBase64, write } from "./binding.js";
import { RESULT } from "./context.js";
import { event, faultsOf, REQUIRED } from "./event.js";

/** The function's return value is neither nothing, nor a CloudEvent, nor JSON. */
export class NoReply extends Error {}

/** Return an answer that says what went wrong (RFC 9457). */
export function problem(status, detail, faults = []) {
  const told = { type: "about:blank", title: STATUS_CODES[status], status, detail, faults };
  return { status, headers: { "content-type": "application/problem+json" }, body: Buffer.from(JSON.stringify(told)) };
}

/** Return the answer for what the function returned; throw `NoReply`. */
export function replyTo(value, context) {
  if (value === undefined || value === null) return { status: 202, headers: {}, body: Buffer.alloc(0) };
  try {
    const [headers, body] = write(wellFormed(eventOf(value, context)));
    return { status: 200, headers, body };
  } catch (error) {
    throw new NoReply(error.message);
  }
}

/** Return the event that `value` is (ours, an SDK's, any object with what is required), or the one it is wrapped in. */
function eventOf(value, context) {
  if (typeof value === "object" && REQUIRED.every((name) => name in value)) {
    const { data, data_base64: encoded, ...attributes } = typeof value.toJSON === "function" ? value.toJSON() : value;
    if (encoded == null) return event(attributes, data);
    if (!isBase64(encoded)) throw new TypeError("its data_base64 is no base64");
    return event(attributes, Buffer.from(encoded, "base64"));
  }
  if (ArrayBuffer.isView(value)) throw new TypeError("bytes are no JSON; context.event({ type, data }) sends them");
  if (typeof value === "function") throw new TypeError("a function is no JSON");
  return context.event({ type: RESULT, data: value });
}

function wellFormed({ data, ...given }) {
  const attributes = {};
  for (const [name, value] of Object.entries(given)) {
    if (value != null) attributes[name] = value instanceof Date ? value.toISOString() : value;
  }
  const faults = faultsOf(attributes);
  if (faults.length) throw new TypeError(faults.map(({ where, message }) => `${where} ${message}`).join("; "));
  return { ...attributes, data };
}
