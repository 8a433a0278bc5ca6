// The HTTP binding of CloudEvents 1.0: a request into an event, an event into a reply. `delivery.js` reads with it,
// `reply.js` writes with it. Both are pure: headers and bytes in, values out.

import { event, faultsOf } from "./event.js";

export const STRUCTURED = "application/cloudevents+json";

/** The request bears no CloudEvent; `faults` is everything that is wrong with it. */
export class Malformed extends Error {
  constructor(faults) {
    super(faults.map(({ where, message }) => `${where} ${message}`).join("; "));
    this.faults = faults;
  }
}

/** The request bears events in a way that is not understood here. */
export class Unsupported extends Error {}

/** Return the event of a request in binary or structured mode; `headers` are pairs as received. */
export function read(headers, body) {
  const pairs = headers.map(([name, value]) => [name.toLowerCase(), value]);
  const contentType = pairs.find(([name]) => name === "content-type")?.[1];
  const media = mediaOf(contentType);
  if (media === STRUCTURED) return readStructured(body);
  if (media.startsWith("application/cloudevents-batch")) {
    throw new Unsupported("a batch is not accepted: send its events one by one");
  }
  if (media.startsWith("application/cloudevents")) {
    throw new Unsupported(`the only format of structured events that is understood is ${STRUCTURED}`);
  }
  return readBinary(pairs, contentType, body);
}

/** Return the headers and the body of a well-formed event in binary mode. */
export function write({ data, ...attributes }) {
  const { datacontenttype, ...rest } = attributes;
  const [body, contentType] = encode(data, datacontenttype);
  const headers = {};
  for (const [name, value] of Object.entries(rest)) headers[`ce-${name}`] = toHeader(String(value));
  if (contentType !== undefined) headers["content-type"] = contentType;
  return [headers, body];
}

function readBinary(pairs, contentType, body) {
  const attributes = Object.create(null); // an attribute may be called `constructor`
  const faults = [];
  for (const [header, value] of pairs) {
    const where = header.slice("ce-".length);
    if (!header.startsWith("ce-") || where === "datacontenttype") continue;
    if (where in attributes) faults.push({ where, message: "is given more than once" });
    try {
      attributes[where] = fromHeader(value);
    } catch {
      attributes[where] = value;
      faults.push({ where, message: "is not UTF-8 where its percent signs are resolved" });
    }
  }
  if (contentType) attributes.datacontenttype = contentType;
  return checked(attributes, faults, body.length ? body : undefined, contentType);
}

function readStructured(body) {
  let whole;
  try {
    whole = parseJson(body);
  } catch (error) {
    throw new Malformed([{ where: "body", message: `is no JSON: ${error.message}` }]);
  }
  if (whole === null || typeof whole !== "object" || Array.isArray(whole)) {
    throw new Malformed([{ where: "body", message: "is no JSON object" }]);
  }
  const { data, data_base64: encoded, ...rest } = whole;
  const attributes = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null));
  const contentType = attributes.datacontenttype;
  if (encoded == null) return checked(attributes, [], data ?? undefined, contentType);
  const faults = [];
  if (data != null) faults.push({ where: "data_base64", message: "stands beside `data`: one of them is enough" });
  if (!isBase64(encoded)) faults.push({ where: "data_base64", message: "is no base64" });
  const raw = isBase64(encoded) ? Buffer.from(encoded, "base64") : data;
  return checked(attributes, faults, raw, contentType || "application/octet-stream");
}

function checked(attributes, faults, data, contentType) {
  const all = [...faults, ...faultsOf(attributes)];
  let decoded;
  if (!all.some(({ where }) => where === "datacontenttype")) {
    try {
      decoded = decode(data, contentType);
    } catch (error) {
      const what = contentType ?? "JSON, as which it counts without a type";
      all.push({ where: "data", message: `is no ${what}: ${error.message}` });
    }
  }
  if (all.length) throw new Malformed(all);
  return event(attributes, decoded);
}

/** Return bytes, or a structured event's text, as what the content type makes of them. */
function decode(data, contentType) {
  if (isJson(contentType)) return Buffer.isBuffer(data) ? parseJson(data) : data;
  if (mediaOf(contentType).startsWith("text/")) return Buffer.isBuffer(data) ? text(data, contentType) : data;
  return typeof data === "string" ? Buffer.from(data) : data;
}

/** Return the body that `data` makes, and the content type to say of it. */
function encode(data, contentType) {
  if (data === undefined || data === null) return [Buffer.alloc(0), contentType];
  if (ArrayBuffer.isView(data)) {
    return [Buffer.from(data.buffer, data.byteOffset, data.byteLength), contentType ?? "application/octet-stream"];
  }
  if (typeof data === "string" && !isJson(contentType)) return [Buffer.from(data), contentType];
  const json = JSON.stringify(data);
  if (json === undefined) throw new TypeError(`a ${typeof data} is no JSON`);
  return [Buffer.from(json), contentType ?? "application/json"];
}

function isJson(contentType) {
  const media = mediaOf(contentType);
  return !media || media.endsWith("/json") || media.endsWith("+json");
}

function mediaOf(contentType) {
  return (contentType ?? "").split(";", 1)[0].trim().toLowerCase();
}

/** Tell whether `value` is a text in base64. */
export function isBase64(value) {
  return typeof value === "string" && value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value);
}

function parseJson(bytes) {
  return JSON.parse(text(bytes));
}

function text(bytes, contentType = "") {
  const charset = /;\s*charset="?([^\s";]+)/i.exec(contentType)?.[1] ?? "utf-8";
  return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes);
}

function fromHeader(value) {
  const unquoted = value.length > 1 && /^".*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value;
  const escaped = unquoted
    .replace(/%(?![0-9A-Fa-f]{2})/g, "%25") // a percent sign that escapes nothing stands for itself
    .replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
  return decodeURIComponent(escaped);
}

function toHeader(value) {
  return value.replace(/[^\x21-\x7e]|["%]/gu, encodeURIComponent);
}
