import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { Endpoint } from "./http";
import { UsageError } from "./options";

/** The IPv4 address on the interface of the default route; undefined on a machine without one. */
export function ownAddress(
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
  routes = read("/proc/net/route"),
): string | undefined {
  const byDefault = routes
    .split("\n")
    .map((line) => line.split("\t"))
    .find(([, destination]) => destination === "00000000")?.[0];
  const usable = Object.entries(interfaces)
    .flatMap(([name, addresses]) => (addresses ?? []).map((address) => ({ name, ...address })))
    .filter(({ family, internal }) => family === "IPv4" && !internal);
  const named = usable.find(({ name }) => name === byDefault);
  return (named ?? usable.find(({ name }) => !/^(docker|br-|veth)/.test(name)))?.address;
}

/** DOCKER_HOST, or the socket at its usual place, or where Registrator's users mount it. */
export function dockerEndpoint(host: string | undefined, exists = existsSync): Endpoint {
  if (!host) {
    const places = ["/var/run/docker.sock", "/tmp/docker.sock"];
    const socketPath = places.find((place) => exists(place));
    if (socketPath) return { socketPath };
    throw new UsageError(`There is no Docker socket; mount it: -v /var/run/docker.sock:/var/run/docker.sock`);
  }
  if (host.startsWith("unix://")) return { socketPath: host.slice("unix://".length) };
  const [, name, port = "2375"] = /^(?:tcp|http):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(host) ?? [];
  if (!name) throw new UsageError(`DOCKER_HOST=${host}: it is unix://PATH or tcp://HOST:PORT.`);
  return { host: name.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/** The files that consul-tls:// takes its certificates from, as with Registrator. */
export function consulTls(env: NodeJS.ProcessEnv): NonNullable<Endpoint["tls"]> {
  const file = (name: string): Buffer | undefined => {
    const path = env[name];
    if (!path) return undefined;
    try {
      return readFileSync(path);
    } catch {
      throw new UsageError(`${name}=${path}: the file can't be read.`);
    }
  };
  const ca = file("CONSUL_CACERT");
  const cert = file("CONSUL_CLIENT_CERT");
  const key = file("CONSUL_CLIENT_KEY");
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
