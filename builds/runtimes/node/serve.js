// Serves one Node function: the entry point of the runtime's image, and of the embedded mode's processes. Here
// everything is joined, and nowhere else is the environment read. The README says what a function can rely on.

import { statSync } from "node:fs";

import { delivery } from "./lib/delivery.js";
import { expressOf, load, LoadError } from "./lib/function.js";
import { logger, traceOf } from "./lib/log.js";
import { serverOf } from "./lib/server.js";
import { BadSettings, read } from "./lib/settings.js";
import { web } from "./lib/web.js";

const DRAIN_SECONDS = 30;

async function main() {
  let end = () => process.exit(0); // as process 1 of a container there is no default that ends it
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => end());
  const settings = read(process.env);
  const { name, tenant, revision } = settings;
  const log = logger({ function: name, tenant, revision });
  if (settings.parentPipe) process.stdin.resume().once("close", () => process.exit(0));

  if (!statSync(settings.code, { throwIfNoEntry: false })?.isDirectory()) {
    throw new LoadError(`there is no folder ${settings.code}`);
  }
  process.chdir(settings.code);
  const { kind, handle } = await load(settings.entrypoint, process.cwd());
  const answers =
    kind === "http"
      ? { web: web(expressOf(settings.entrypoint, process.cwd()), handle, settings, log) }
      : { answer: delivery(handle, settings, log) };
  const { server, drain } = serverOf(answers, settings.maxBody, log);
  end = async (code = 0) => {
    if (!(await drain(DRAIN_SECONDS))) log.warn(`requests that still run after ${DRAIN_SECONDS} s are given up`);
    process.exit(code);
  };
  process.on("unhandledRejection", (reason) => {
    log.error("a promise was rejected, and nobody handled it", traceOf(reason));
  });
  process.on("uncaughtException", (error) => {
    log.error("an exception was thrown where nothing could catch it; the process ends", traceOf(error));
    end(1);
  });
  server.listen(settings.port, settings.host, 1024, () => {
    const { address, port } = server.address();
    log.info(`listening on ${address}:${port}`, { port });
  });
}

main().catch((error) => {
  // the reason comes last: of what a container printed, Knative shows the end
  if (!(error instanceof LoadError || error instanceof BadSettings)) console.error(error);
  else if (error.cause) console.error(error.cause);
  console.error(`the function cannot be loaded: ${error.message}`);
  process.exit(1);
});
