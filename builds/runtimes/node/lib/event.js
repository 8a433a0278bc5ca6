// A CloudEvent as a function sees it, and the rules that the attributes of one obey (CloudEvents 1.0, "Context
// Attributes"). Made by `binding.js` from a request, by `context.js` for a function, by `reply.js` from what a
// function returned. Nothing here knows HTTP.

export const REQUIRED = ["specversion", "id", "source", "type"];
const SPECIFIED = [...REQUIRED, "datacontenttype", "dataschema", "subject", "time"];

const NAME = /^[a-z0-9]+$/;
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]/u;
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+ *(;[ -~]*)?$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/** Return a frozen event: its attributes and `data` as properties, and `toJSON()`, which is its structured form. */
export function event(attributes, data) {
  const made = { ...attributes, data };
  Object.defineProperty(made, "toJSON", { value: () => structured(attributes, data) });
  return Object.freeze(made);
}

function structured(attributes, data) {
  if (data === undefined || data === null) return { ...attributes };
  return ArrayBuffer.isView(data)
    ? { ...attributes, data_base64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64") }
    : { ...attributes, data };
}

/** Return everything that is wrong with an event's attributes; an attribute that is null counts as absent. */
export function faultsOf(attributes) {
  const faults = REQUIRED.filter((name) => attributes[name] == null).map((where) => ({ where, message: "is missing" }));
  for (const [where, value] of Object.entries(attributes)) {
    if (value == null) continue;
    for (const message of faultsIn(where, value)) faults.push({ where, message });
  }
  return faults;
}

function* faultsIn(name, value) {
  const specified = SPECIFIED.includes(name);
  if (name === "data" || !NAME.test(name)) {
    yield "is no name for an attribute: they are made of lower-case letters and digits, and `data` is taken";
  }
  if (typeof value !== "string") {
    if (specified) yield `must be a text, not ${JSON.stringify(value)}`;
    else if (typeof value !== "boolean" && !Number.isInteger(value)) yield "must be a text, an integer or a boolean";
  } else if (!value && specified) yield "is empty";
  else if (FORBIDDEN.test(value)) yield "holds a character that no attribute may have";
  else if (name === "specversion" && value !== "1.0") yield `is '${value}'; only '1.0' is understood`;
  else if (name === "datacontenttype" && !MEDIA_TYPE.test(value)) yield `'${value}' is no media type`;
  else if (name === "time" && !isTime(value)) yield `'${value}' is no RFC 3339 time`;
}

function isTime(text) {
  if (!TIME.test(text) || Number.isNaN(Date.parse(text.toUpperCase()))) return false;
  const day = text.slice(0, 10); // Date.parse takes February 30th for March
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
}
