/** The autoscaler, or the keeper of its narrow socket: see README.md. */
import { UserError } from "../../../lib/errors";
import { listenAt } from "../../../lib/listen";
import { HttpClient } from "../../../lib/http";
import { runAutoscaler } from "./autoscaler";
import { log } from "./log";
import { parseOptions, parseSocketOptions } from "./options";
import { Engine } from "./swarm/engine";
import { narrowServer } from "./swarm/server";

async function keepSocket(args: readonly string[]): Promise<void> {
  const { listen: path, engine } = parseSocketOptions(args);
  const docker = new Engine(new HttpClient({ socketPath: engine }, { maxSockets: 8 }));
  const server = await listenAt(narrowServer(docker, log), path);
  log(`answers at ${path}`);
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      log(`${signal}: exiting`);
      server.closeAllConnections();
      server.close();
    });
}

async function main(args: readonly string[]): Promise<void> {
  if (args[0] === "docker") return keepSocket(args.slice(1));
  const options = parseOptions(args, process.env);
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      log(`${signal}: exiting`);
      stop.abort();
    });
  await runAutoscaler(options, log, stop.signal);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  // Anything but a user's mistake is a bug, and needs its stack trace.
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
