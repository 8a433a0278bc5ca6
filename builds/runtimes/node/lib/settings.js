// The wrapper's settings. `serve.js` reads them from the environment, once; nobody else reads it.

export class BadSettings extends Error {}

/** Return the settings in `env`; throw `BadSettings` for all faults together. */
export function read(env) {
  const faults = [];
  const number = (name, otherwise) => {
    const text = env[name] || String(otherwise);
    if (!/^[0-9]+$/.test(text)) faults.push(`${name} is '${text}', which is no whole number`);
    return Number(text);
  };
  const settings = Object.freeze({
    entrypoint: env.LAMBDA_ENTRYPOINT || "index.handle", // the file without its extension, a dot, the export
    code: env.LAMBDA_CODE || "/function", // the folder with the function's files, and their node_modules
    host: env.HOST || undefined, // all addresses by default
    port: number("PORT", 8080), // 0 takes a free one, which the first line of the log tells
    name: env.K_SERVICE || "function",
    revision: env.K_REVISION || "",
    tenant: env.LAMBDA_TENANT || "default",
    maxBody: number("LAMBDA_MAX_BODY", 10 * 1024 * 1024), // bytes
    concurrency: number("LAMBDA_CONCURRENCY", 0), // events handled at once; 0 sets no bound
    timeout: number("LAMBDA_TIMEOUT", 60), // seconds until a sender gives up on an answer
    parentPipe: Boolean(env.LAMBDA_PARENT_PIPE), // end when standard input does
  });
  if (faults.length) throw new BadSettings(faults.join("; "));
  return settings;
}
