// Greets whoever the event names, and tells which version of its dependency it runs with.

const ms = require("ms");
const { version } = require("ms/package.json");

exports.handle = async (event, context) => {
  const name = event.data?.name ?? "world";
  context.log.info(`greeting ${name}`);
  return { hello: name, aMinute: ms("1m"), ms: version };
};
