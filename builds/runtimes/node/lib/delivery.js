// One delivery: a request's headers and body in, the reply out. Whatever the function does, there is a reply: a broker
// takes 4xx as final, and delivers again after a 500.

import { Malformed, read, Unsupported } from "./binding.js";
import { contextOf, traceId } from "./context.js";
import { handling, traceOf } from "./log.js";
import { NoReply, problem, replyTo } from "./reply.js";

/** Return what hands events to `handle`, at most `settings.concurrency` at once. */
export function delivery(handle, settings, log) {
  const slot = slots(settings.concurrency || Infinity);
  return async (headers, body) => {
    let event;
    try {
      event = read(headers, body);
    } catch (error) {
      if (error instanceof Malformed) return problem(400, "the request is no well-formed CloudEvent", error.faults);
      if (error instanceof Unsupported) return problem(415, error.message);
      throw error;
    }
    const header = headers.find(([name]) => name.toLowerCase() === "traceparent")?.[1];
    const context = contextOf(event, header || String(event.traceparent ?? ""), settings, log);
    const told = { event_id: event.id, event_type: event.type, trace_id: traceId(context.traceparent) };
    return handling.run(told, () => slot(() => handled(handle, event, context)));
  };
}

async function handled(handle, event, context) {
  let value;
  try {
    value = await handle(event, context);
    return replyTo(value, context);
  } catch (error) {
    if (error instanceof NoReply) {
      context.log.error(`the function returned a ${typeof value}, which cannot be sent: ${error.message}`);
      return problem(500, "the function's return value is neither a CloudEvent nor JSON");
    }
    const { exception, traceback } = traceOf(error);
    context.log.error(`the function threw ${exception}: ${error?.message ?? error}`, { exception, traceback });
    return problem(500, exception);
  }
}

/** Return what runs tasks, at most `free` at once and in the order they came. */
export function slots(free) {
  const waiting = [];
  return async (task) => {
    if (free > 0) free -= 1;
    else await new Promise((go) => waiting.push(go));
    try {
      return await task();
    } finally {
      if (waiting.length) waiting.shift()();
      else free += 1;
    }
  };
}
