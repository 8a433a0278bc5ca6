// An HTTP function, as functions-framework has it: it gets Express's request and response, the body parsed. It answers
// what it likes, to whatever comes; but who sends an event gets one: a broker takes no other body, so what it answers
// then is wrapped.

import { STRUCTURED, read } from "./binding.js";
import { contextOf, RESULT, traceId } from "./context.js";
import { slots } from "./delivery.js";
import { handling, traceOf } from "./log.js";
import { problem, replyTo } from "./reply.js";

/** Return what answers requests with `handler`, at most `settings.concurrency` at once. */
export function web(express, handler, settings, log) {
  const app = appOf(express, handler, settings, log);
  const slot = slots(settings.concurrency || Infinity);
  return (request, response) => {
    const event = eventOf(request);
    const header = request.headers.traceparent || event.traceparent || "";
    const told = { event_id: event.id, event_type: event.type, trace_id: traceId(header) };
    if (event.specversion) wrap(response, contextOf(event, header, settings, log));
    const ended = new Promise((go) => response.once("close", go));
    return handling.run(told, () => slot(() => (app(request, response), ended)));
  };
}

function appOf(express, handler, { maxBody }, log) {
  const app = express();
  app.disable("x-powered-by");
  const verify = (request, _, body) => void (request.rawBody = body);
  const limits = { limit: maxBody, verify };
  app.use(express.json({ ...limits, type: ["application/json", "application/*+json"] }));
  app.use(express.urlencoded({ ...limits, extended: true }));
  app.use(express.text(limits), express.raw({ ...limits, type: "*/*" }));
  app.use(async (request, response, next) => {
    try {
      await handler(request, response, next);
    } catch (error) {
      next(error ?? new Error("the function threw nothing"));
    }
  });
  app.use((request, response) => send(response, problem(404, "the function answered nothing")));
  app.use((error, request, response, _next) => {
    if (error?.expose && error.status < 500) return send(response, problem(error.status, error.message));
    const { exception, traceback } = traceOf(error);
    log.error(`the function threw ${exception}: ${error?.message ?? error}`, { exception, traceback });
    if (response.headersSent) response.destroy();
    else send(response, problem(500, exception));
  });
  return app;
}

function send(response, { status, headers, body }) {
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.end(body);
}

/** Return what the headers, or a structured body's sender, say of an event; without `specversion` there is none. */
function eventOf({ rawHeaders, headers }) {
  if (!headers["ce-specversion"]) return {};
  const pairs = [];
  for (let at = 0; at < rawHeaders.length; at += 2) pairs.push([rawHeaders[at], rawHeaders[at + 1]]);
  try {
    return read(pairs.filter(([name]) => name.toLowerCase() !== "content-type"), Buffer.alloc(0));
  } catch {
    return {}; // what is no well-formed event is a request like any
  }
}

/** Keep what is written to a response to its end, and send it as an event then, where it is a success and none. */
function wrap(response, context) {
  const kept = [];
  const end = response.end.bind(response);
  const head = response.writeHead.bind(response);
  const keep = (piece, encoding) => {
    if (piece != null && typeof piece !== "function") {
      kept.push(Buffer.from(piece, typeof encoding === "string" ? encoding : undefined));
    }
  };
  response.writeHead = (status, ...rest) => {
    response.statusCode = status;
    const headers = rest.find((each) => each && typeof each === "object") ?? {};
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    return response;
  };
  response.write = (piece, encoding) => (keep(piece, encoding), true);
  response.end = (piece, encoding) => {
    keep(piece, encoding);
    const body = Buffer.concat(kept);
    const type = String(response.getHeader("content-type") ?? "");
    const isEvent = response.hasHeader("ce-specversion") || type.startsWith(STRUCTURED);
    if (response.statusCode < 300 && body.length && !isEvent) {
      const data = { type: RESULT, data: body, datacontenttype: type || undefined };
      for (const [name, value] of Object.entries(replyTo(context.event(data), context).headers)) {
        response.setHeader(name, value);
      }
    }
    response.removeHeader("transfer-encoding");
    response.setHeader("content-length", body.length);
    head(response.statusCode);
    return end(body);
  };
}
