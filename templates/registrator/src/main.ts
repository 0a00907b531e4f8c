import { hostname } from "node:os";
import { version } from "../../../routing/version";
import { Consul } from "./consul/agent";
import { Docker } from "./docker/client";
import { consulTls, dockerEndpoint, ownAddress } from "./machine";
import { parseOptions, usage, UsageError } from "./options";
import { Registrar } from "./registrar";
import { Registry } from "./consul/registry";

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === "help" || options === "version") {
    say(options === "help" ? usage : version);
    return;
  }
  const address = options.ip ?? ownAddress();
  if (address === undefined) {
    throw new UsageError("This machine has no address that others reach it by; give it: -ip ADDRESS.");
  }
  const node = options.hostname ?? hostname();
  const { label, tlsFromEnv, ...endpoint } = options.consul;
  const docker = new Docker(dockerEndpoint(process.env.DOCKER_HOST));
  const tls = tlsFromEnv ? { tls: consulTls(process.env) } : {};
  const consul = new Consul({ ...endpoint, ...tls }, process.env.CONSUL_HTTP_TOKEN);
  const registry = new Registry(consul, label, node, say, () => {
    registrar.syncSoon();
  });
  const registrar = new Registrar(
    docker,
    registry,
    { ...options, hostname: node, address, ...(options.ip && { forcedAddress: options.ip }) },
    say,
  );
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      say(
        `${signal}: ending; what is registered stays, so that the next Registrator takes over without a gap`,
      );
      stop.abort();
    });
  }
  say(`Registrator ${version} on node ${node}, address ${address}, Consul at ${label}`);
  options.notes.forEach(say);
  await registrar.run(stop.signal);
  process.exit(0);
}

main().catch((error: unknown) => {
  // A user's mistake needs a sentence; anything else is ours and needs its stack.
  if (error instanceof UsageError) console.error(error.message);
  else console.error(error);
  process.exit(1);
});
