// The HTTP/1.1 server: paths, bodies, probes, and how it ends. It knows nothing of events.

import http from "node:http";
import net from "node:net";

import { problem } from "./reply.js";

const DISCARDED = 4;
const OK = { status: 200, headers: {}, body: Buffer.alloc(0) };

const PROBES = ["/healthz", "/readyz"];

class TooLarge extends Error {}

/**
 * Return a server that answers events with `answer`, or everything with `web` where that is given, and the probes by
 * itself; its `drain` ends it gently.
 */
export function serverOf({ answer, web }, maxBody, log) {
  let draining = false;
  let running = 0;
  let idle = () => {};
  const server = http.createServer({ keepAliveTimeout: 0, noDelay: true }, async (request, response) => {
    const probe = request.method === "GET" && PROBES.includes(request.url);
    const event = !probe && (web || request.method === "POST");
    if (event) running += 1;
    response.once("close", () => {
      if (event) running -= 1;
      if (!running) idle();
    });
    try {
      if (draining && web) response.setHeader("connection", "close");
      if (web && !probe) return await web(request, response);
      const reply = event ? await answered(request, response, answer, maxBody) : probed(request, draining);
      send(response, reply, draining);
    } catch (error) {
      if (!request.destroyed) log.error("a connection was given up", { traceback: error.stack });
      response.destroy();
    }
  });

  /** Accept nothing more, and resolve once no event is being handled, at most after `seconds`; tell whether none is. */
  const drain = (seconds) => {
    draining = true;
    net.Server.prototype.close.call(server); // http's own would also cut the connections that are only kept alive
    return new Promise((resolve) => {
      idle = () => resolve(true);
      if (!running) idle();
      setTimeout(() => resolve(false), seconds * 1000);
    });
  };
  return { server, drain };
}

function probed({ method, url }, draining) {
  if (method !== "GET") return problem(501, `${method} is not supported`);
  if (url === "/healthz") return OK;
  if (url === "/readyz") return draining ? problem(503, "the process is ending") : OK;
  return problem(404, "an event is sent with POST to /; the probes are /healthz and /readyz");
}

async function answered(request, response, answer, maxBody) {
  let body;
  try {
    body = await bodyOf(request, response, maxBody);
  } catch (error) {
    if (error instanceof TooLarge) return problem(413, error.message);
    throw error;
  }
  if (request.url.split("?", 1)[0] !== "/") return problem(404, "events go to /");
  return answer(pairs(request.rawHeaders), body);
}

/** Return the request's body; one that is too large is read to its end where that is near, to be answered. */
async function bodyOf(request, response, limit) {
  const kept = [];
  let size = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    size += piece.length;
    if (size <= limit) kept.push(piece);
    else if (size > limit * DISCARDED) {
      response.setHeader("connection", "close");
      break;
    }
  }
  if (size > limit) throw new TooLarge(`the body is larger than ${limit} bytes`);
  return Buffer.concat(kept);
}

function send(response, { status, headers, body }, draining) {
  if (draining) response.setHeader("connection", "close");
  response.sendDate = false;
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.end(body);
}

function pairs(raw) {
  return Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at], raw[2 * at + 1]]);
}
