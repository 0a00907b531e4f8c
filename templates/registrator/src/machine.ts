import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { UserError } from "../../../lib/errors";
import type { Endpoint } from "../../../lib/http";

/** The IPv4 address on the interface of the default route, or on the first other one; undefined if there is none. */
export function ownAddress(
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
  routes = read("/proc/net/route"),
): string | undefined {
  const defaultInterface = routes
    .split("\n")
    .map((line) => line.split("\t"))
    .find(([, destination]) => destination === "00000000")?.[0];
  const usable = Object.entries(interfaces)
    .flatMap(([name, addresses]) => (addresses ?? []).map((address) => ({ name, ...address })))
    .filter(({ family, internal }) => family === "IPv4" && !internal);
  const preferred = usable.find(({ name }) => name === defaultInterface);
  return (preferred ?? usable.find(({ name }) => !/^(docker|br-|veth)/.test(name)))?.address;
}

/** Whether an interface of this machine has the address. */
export const isOwnAddress = (address: string, interfaces = networkInterfaces()): boolean =>
  Object.values(interfaces).some((addresses) => addresses?.some((each) => each.address === address));

/** DOCKER_HOST, or else the socket: at its usual path, or where users of the original Registrator mount it. */
export function dockerEndpoint(host: string | undefined, exists = existsSync): Endpoint {
  if (!host) {
    const socketPath = ["/var/run/docker.sock", "/tmp/docker.sock"].find((path) => exists(path));
    if (socketPath) return { socketPath };
    throw new UserError("There is no Docker socket; mount it: -v /var/run/docker.sock:/var/run/docker.sock");
  }
  if (host.startsWith("unix://")) return { socketPath: host.slice("unix://".length) };
  const [, name, port = "2375"] = /^(?:tcp|http):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(host) ?? [];
  if (!name) throw new UserError(`DOCKER_HOST=${host}: write it as unix://PATH or tcp://HOST:PORT.`);
  return { host: name.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/** The certificate files for consul-tls://, from the same variables as the original Registrator. */
export function consulTls(env: NodeJS.ProcessEnv): NonNullable<Endpoint["tls"]> {
  const file = (name: string): Buffer | undefined => {
    const path = env[name];
    if (!path) return undefined;
    try {
      return readFileSync(path);
    } catch {
      throw new UserError(`${name}=${path}: the file cannot be read.`);
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
