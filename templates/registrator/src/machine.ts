import { existsSync, readFileSync } from "node:fs";
import { SocketAddress } from "node:net";
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

/**
 * Whether an interface of this machine has the address. Node leaves out interfaces without a carrier, such as Docker's bridge
 * while no container is connected to it; the kernel's table of IPv4 routes has them.
 */
export const isOwnAddress = (
  address: string,
  interfaces = networkInterfaces(),
  routes = read("/proc/net/fib_trie"),
): boolean =>
  Object.values(interfaces).some((addresses) => addresses?.some((each) => each.address === address)) ||
  [...routes.matchAll(/\|-- ([\d.]+)\n\s+\/32 host LOCAL/g)].some(([, local]) => local === address);

/**
 * The addresses at which programs listen, by TCP port, read from `/proc/net/tcp` and `tcp6`; undefined if those are empty.
 * An empty address means all. Most programs that listen on all IPv6 addresses accept IPv4 too, so that counts as all.
 */
export function listeners(
  tables: readonly string[] = [read("/proc/net/tcp"), read("/proc/net/tcp6")],
): ReadonlyMap<number, readonly string[]> | undefined {
  if (tables.every((table) => table === "")) return undefined;
  const found = new Map<number, string[]>();
  for (const [, address = "", port = ""] of tables.join("\n").matchAll(listening)) {
    const number = parseInt(port, 16);
    found.set(number, [...(found.get(number) ?? []), addressOf(address)]);
  }
  return found;
}

const listenersForMs = 200;
let latest: { readonly found: ReturnType<typeof listeners>; readonly atMs: number } | undefined;

/** The addresses at which programs listen on a TCP port, read at most some 200 ms ago; undefined if that is unknown. */
export function listenersOn(port: number): readonly string[] | undefined {
  const now = performance.now();
  if (latest === undefined || now - latest.atMs > listenersForMs) latest = { found: listeners(), atMs: now };
  return latest.found && (latest.found.get(port) ?? []);
}

/** A line of such a table for a socket in the state LISTEN. */
const listening = /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm;

/** The kernel writes each four bytes as one little-endian number. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, "hex").reverse()]);
  if (bytes.every((byte) => byte === 0)) return "";
  if (bytes.length === 4) return bytes.join(".");
  const groups = bytes.flatMap((byte, at) =>
    at % 2 === 0 ? [((byte << 8) | (bytes[at + 1] ?? 0)).toString(16)] : [],
  );
  const { address } = new SocketAddress({ address: groups.join(":"), family: "ipv6" });
  return address.replace(/^::ffff:(?=.*\.)/, "");
}

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
