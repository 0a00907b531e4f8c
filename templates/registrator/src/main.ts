import { hostname } from "node:os";
import { UserError } from "../../../lib/errors";
import { version } from "../../../routing/version";
import { Consul } from "./consul/agent";
import { Registry } from "./consul/registry";
import { Docker } from "./docker/client";
import { consulTls, dockerEndpoint, isOwnAddress, listenersOn, ownAddress } from "./machine";
import { parseOptions, usage } from "./options";
import { Registrar } from "./registrar";
import { escapeLines } from "../../../lib/text";

const log = (line: string): void => {
  process.stdout.write(`${escapeLines(line)}\n`);
};

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === "help" || options === "version") {
    log(options === "help" ? usage : version);
    return;
  }
  const address = options.ip ?? ownAddress();
  if (address === undefined) {
    throw new UserError("No address was found that other machines can reach; set one: -ip ADDRESS.");
  }
  const node = options.hostname ?? hostname();
  const { label, tlsFromEnv, ...endpoint } = options.consul;
  const docker = new Docker(dockerEndpoint(process.env.DOCKER_HOST));
  const tls = tlsFromEnv ? { tls: consulTls(process.env) } : {};
  const consul = new Consul(
    { ...endpoint, ...tls },
    {
      token: process.env.CONSUL_HTTP_TOKEN || undefined,
      tokenFile: process.env.CONSUL_HTTP_TOKEN_FILE || undefined,
    },
  );
  const registry = new Registry(consul, label, { hostname: node, address }, log, () => {
    registrar.syncSoon();
  });
  const registrar = new Registrar(
    docker,
    registry,
    // Outside the host's network, Registrator cannot see who listens there.
    { ...options, hostname: node, address, ...(isOwnAddress(address) && { listenersOn }) },
    log,
  );
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log(`${signal}: exiting; all services stay registered for the next Registrator to take over`);
      stop.abort();
    });
  }
  log(`Registrator ${version} on node ${node}, address ${address}, Consul at ${label}`);
  options.notes.forEach(log);
  await registrar.run(stop.signal);
  process.exit(0);
}

main().catch((error: unknown) => {
  // Anything but a user's mistake is a bug, and needs its stack trace.
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
