// What the contract suite asks of a function, by the type of the event; python/main.py does the same.

const { existsSync, writeFileSync } = require("node:fs");

const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));
let busy = 0;
let other;

const table = {
  see({ data, ...attributes }) {
    if (Buffer.isBuffer(data)) return { attributes, bytes: data.toString("hex") };
    return { attributes, value: data ?? null };
  },
  nothing: () => undefined,
  give: (event) => event.data,
  same: (event) => event,
  made: (event, context) => context.event({ type: event.data.type, subject: "its own", data: event.data.data }),
  "plain-event": () => ({
    specversion: "1.0",
    id: "7",
    source: "/elsewhere",
    type: "plain",
    subject: 'é "%',
    flag: true,
    datacontenttype: "text/plain",
    data: "grüß",
  }),
  "binary-event": (event, context) => context.event({ type: "made", data: Buffer.from([0, 255]) }),
  "bad-event": () => ({ specversion: "1.0", id: "", source: "/elsewhere", type: "plain", bad_name: "x" }),
  "no-json": () => () => {},
  bytes: () => Buffer.from("bytes"),
  fail() {
    throw new RangeError("the password is 1234");
  },
  say: (event, context) => context.log.info("said by the function"),
  about: (event, { name, tenant, revision, traceparent, deadline }) => {
    return { name, tenant, revision, traceparent, seconds: Math.round((deadline - Date.now()) / 100) / 10 };
  },
  async wait(event) {
    writeFileSync(event.data.began, "");
    while (!existsSync(event.data.until)) await pause(10);
    return "done";
  },
  async meet() {
    if (other) other();
    else await new Promise((go) => (other = go));
    return "met";
  },
  async crowd() {
    busy += 1;
    await pause(50);
    const seen = busy;
    busy -= 1;
    return seen;
  },
};

exports.handle = (event, context) => table[event.type](event, context);
exports.one = (event) => event.data;
exports.coroutine = async (event) => {
  await pause(0);
  return event.data;
};
exports.failing_coroutine = async () => {
  await pause(0);
  throw new RangeError("the password is 1234");
};
