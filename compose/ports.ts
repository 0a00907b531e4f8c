/** How the ports that a compose file publishes are reached through the load balancer. Pure. */
import { list, othersOf, textOf, type Mapping } from "./read";

/** Ports of programs that speak no HTTP. */
const otherProtocols: readonly number[] = [
  22, 25, 443, 1433, 1521, 1883, 3306, 4222, 5432, 5672, 6379, 8883, 9042, 9092, 11211, 25565, 27017,
];

const portKeys = ["target", "published", "host_ip", "protocol"];

export interface Port {
  /** The port in the container; NaN for a range. */
  readonly target: number;
  /** The one on the machine; NaN if Docker chooses it. */
  readonly published: number;
  /** The address of the machine, if there is one. */
  readonly host: string;
}

const isUdp = (each: unknown): boolean =>
  typeof each === "string" ? each.endsWith("/udp") : (each as Mapping)["protocol"] === "udp";
const isLoopback = (host: string): boolean => /^(127\.|localhost$|\[?::1\]?$)/.test(host);

/** The TCP ports that a service publishes. */
export function portsOf(service: Mapping): Port[] {
  return list(service["ports"])
    .filter((each) => !isUdp(each))
    .map((each) => {
      if (typeof each !== "string") {
        const { target, published, host_ip: host } = each as Mapping;
        return { target: Number(target), published: Number(published ?? NaN), host: textOf(host) };
      }
      const form = /^(?:(\[[^\]]*\]|[^:]*):(?=[^:]*:))?(?:([^:]*):)?([^:]*)$/;
      const [, host = "", published, target = ""] = form.exec(each.replace(/\/tcp$/, "")) ?? [];
      return { target: Number(target), published: Number(published ?? NaN), host };
    });
}

const speaksHttp = ({ target }: Port): boolean =>
  Number.isInteger(target) && !otherProtocols.includes(target);

/**
 * The port that gets the path `/`, so that links of the application lead where they did: the one at port 80, or the only one
 * that speaks HTTP.
 */
export function rootOf(services: readonly Mapping[]): Port | undefined {
  const candidates = services.flatMap(portsOf).filter(speaksHttp);
  return (
    candidates.find(({ published }) => published === 80) ??
    (candidates.length === 1 ? candidates[0] : undefined)
  );
}

interface Reached {
  readonly port: number;
  readonly type?: "tcp";
  readonly meta?: Readonly<Record<string, string>>;
}

/** A port's keys in the stack file: at the path `/`, or at the port that Compose publishes, or else at the service's name. */
function reached({ target, published, host }: Port, isRoot: boolean): Reached {
  const isTcp = !isRoot && (Number.isInteger(published) || otherProtocols.includes(target));
  const meta = {
    ...(isRoot && { path: "/" }),
    ...(isTcp && { tcp_port: String(Number.isInteger(published) ? published : target) }),
    ...(isLoopback(host) && { internal: "true" }),
  };
  return { port: target, ...(isTcp && { type: "tcp" }), ...(Object.keys(meta).length > 0 && { meta }) };
}

/**
 * Adds the keys of the published ports to a service.
 *
 * @param root the port that gets the path `/`
 */
export function addPorts(
  service: Record<string, unknown>,
  given: Mapping,
  root: Port | undefined,
  say: (key: string, fate: "changed" | "left out", text: string) => unknown,
): void {
  const name = textOf(service["name"]);
  const known = given["expose"] === undefined ? "type" : "expose";
  if (list(given["ports"]).some(isUdp)) say("ports", "left out", "UDP is not balanced: start a container yourself"); // prettier-ignore
  const isRoot = (port: Port) => JSON.stringify(port) === JSON.stringify(root);
  const published = portsOf(given);
  const single = published.filter(({ target }) => Number.isInteger(target));
  for (const { host, target } of single.filter((each) => each.host !== "" && !isLoopback(each.host)))
    say("ports", "left out", `the address ${host} of port ${target}: it is reached through the load balancers, at every address`); // prettier-ignore
  if (single.length < published.length)
    say("ports", "left out", "ranges have no single port: list each of their ports in ports");
  for (const other of new Set(list(given["ports"]).flatMap((each) => othersOf(each, portKeys))))
    say("ports", "left out", `${other} of a port has no counterpart`);
  const isFirst = ({ target }: Port, index: number) =>
    single.findIndex((each) => each.target === target) === index;
  const [main, ...more] = single.filter(isFirst);
  for (const { target, published: other } of single.filter((port, index) => !isFirst(port, index)))
    say("ports", "left out", `port ${target} at ${Number.isNaN(other) ? "one that Docker chooses" : other} as well: only the first one is kept`); // prettier-ignore
  if (main === undefined) {
    service["type"] = "none";
    const text = "none, as Compose publishes no port: for a path on the load balancer, set port and type";
    say(known, "changed", `type: ${text}`);
    return;
  }
  if (known === "expose") say("expose", "changed", "needs no key: networks open all ports");
  const { meta = {}, ...first } = reached(main, isRoot(main));
  const check = service["healthCheck"] === undefined ? { check_tcp: "true" } : {};
  Object.assign(service, first, { meta: { ...meta, ...check } });
  if (more.length > 0) service["ports"] = more.map((port) => reached(port, isRoot(port)));
  for (const port of [main, ...more]) {
    const { type, meta: options = {} } = reached(port, isRoot(port));
    const other = "for more than one application at port 80, set type: rest and meta.host";
    const at = port === main ? name : `${name}-${port.target}`;
    const where =
      type === "tcp"
        ? `port ${options["tcp_port"] ?? ""} of the nodes, as with Compose (type: tcp); ${other}`
        : isRoot(port)
          ? `the load balancer's own port, http://NODE/ (meta.path: /); ${other}`
          : `http://NODE/${at}, a prefix that the program does not see; if its links lead astray, set meta.host`;
    const isInner = isLoopback(port.host) ? ", from the nodes only (meta.internal)" : "";
    say("ports", "changed", `port ${port.target} is at ${where}${isInner}`);
  }
}
