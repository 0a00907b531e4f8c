/**
 * What a service says about itself: tags and meta, which are the SERVICE_* variables and labels of its container.
 * Keys that are not ours are left alone, since images carry others; a key of ours with a bad value is refused.
 */
import {
  ok,
  parseBoolean,
  parseDuration,
  parseHealthPath,
  parseHost,
  parseInteger,
  parsePath,
  refuse,
  show,
  type Parsed,
} from "./grammar";

export type Kind = "http" | "tcp";
export type Balance = (typeof balances)[number];

const balances = ["roundrobin", "leastconn", "random", "source", "uri"] as const;

/** What holds for a service as a whole. */
export interface ServiceOptions {
  readonly kind: Kind;
  /** The only host that it answers for; any host without it. */
  readonly host?: string;
  /** Its own path instead of its name. */
  readonly path?: string;
  /** Whether the service sees paths without its prefix. */
  readonly stripPrefix: boolean;
  readonly balance: Balance;
  /** Asked with GET, healthy when the answer is 2xx or 3xx. Without it `HEAD /` must be answered, with anything but a 5xx (501 will do). */
  readonly healthPath?: string;
  /** Milliseconds. */
  readonly timeoutServer?: number;
  /** Connections to one instance at a time; more wait in a queue. */
  readonly maxconn?: number;
  /** Whether a cookie keeps a client on its instance. */
  readonly sticky: boolean;
  /** Whether instances are spoken to in HTTP/2 without TLS, as gRPC needs. */
  readonly h2c: boolean;
  /** The port of the load balancer that a TCP service is reached at. */
  readonly tcpPort?: number;
}

export interface InstanceOptions {
  readonly service: ServiceOptions;
  readonly weight: number;
}

type Draft = { -readonly [K in keyof ServiceOptions]: ServiceOptions[K] };

const oneOf = <T extends string>(value: string, allowed: readonly T[]): Parsed<T> => {
  const found = allowed.find((name) => name === value);
  return found === undefined ? refuse(`is none of ${allowed.join(", ")}`) : ok(found);
};

function setter<K extends keyof Draft>(key: K, parse: (value: string) => Parsed<NonNullable<Draft[K]>>) {
  return (draft: Draft, value: string): string | undefined => {
    const parsed = parse(value);
    if (!parsed.ok) return parsed.error;
    draft[key] = parsed.value;
    return undefined;
  };
}

const readers: Readonly<Record<string, (draft: Draft, value: string) => string | undefined>> = {
  host: setter("host", parseHost),
  path: setter("path", parsePath),
  strip_prefix: setter("stripPrefix", parseBoolean),
  balance: setter("balance", (value) => oneOf(value, balances)),
  health_path: setter("healthPath", parseHealthPath),
  timeout_server: setter("timeoutServer", parseDuration),
  maxconn: setter("maxconn", (value) => parseInteger(value, 1, 100_000)),
  sticky: setter("sticky", parseBoolean),
  proto: setter("h2c", (value) => {
    const proto = oneOf(value, ["h2c", "h1"] as const);
    return proto.ok ? ok(proto.value === "h2c") : proto;
  }),
  tcp_port: setter("tcpPort", (value) => parseInteger(value, 1, 65_535)),
};

const onlyHttp = ["host", "path", "strip_prefix", "health_path", "sticky", "proto"];

/** Every meta key that the load balancer acts on. */
export const metaKeys: readonly string[] = [...Object.keys(readers), "weight"].sort();

/** The tags by which the load balancer takes an instance. */
export const routingTags = ["rest", "http", "tcp"] as const;

const variable = (key: string) => `SERVICE_${key.toUpperCase()}`;

/** `undefined`: nothing asks for this instance to be load balanced. */
export function parseOptions(
  tags: readonly string[],
  meta: Readonly<Record<string, string>>,
): Parsed<InstanceOptions> | undefined {
  const http = tags.includes("rest") || tags.includes("http");
  const tcp = tags.includes("tcp");
  if (tags.includes("udp"))
    return refuse("is UDP, which HAProxy does not balance: reach it by its Consul DNS name instead");
  if (!http && !tcp) return undefined;
  if (http && tcp) return refuse("has both tag tcp and tag rest or http: keep one in SERVICE_TAGS");

  const draft: Draft = {
    kind: http ? "http" : "tcp",
    stripPrefix: true,
    balance: "roundrobin",
    sticky: false,
    h2c: false,
  };
  for (const key of Object.keys(readers)) {
    const value = Object.hasOwn(meta, key) ? meta[key] : undefined;
    if (value === undefined) continue;
    if (tcp && onlyHttp.includes(key))
      return refuse(`has tag tcp, where ${variable(key)} means nothing: remove it, or use tag http`);
    const error = readers[key]?.(draft, value);
    if (error !== undefined) return refuse(`has ${variable(key)}=${show(value)}, which ${error}`);
  }
  if (tcp && draft.tcpPort === undefined)
    return refuse("has tag tcp but no port on the load balancer: set SERVICE_TCP_PORT, for example 5432");
  if (tcp && draft.balance === "uri")
    return refuse("has SERVICE_BALANCE=uri, which only HTTP has: use source");
  if (http && draft.tcpPort !== undefined)
    return refuse("has SERVICE_TCP_PORT, which needs tag tcp: set SERVICE_TAGS=tcp, or remove it");

  const given = Object.hasOwn(meta, "weight") ? meta["weight"] : undefined;
  const weight = given === undefined ? ok(100) : parseInteger(given, 0, 256);
  if (!weight.ok) return refuse(`has ${variable("weight")}=${show(given ?? "")}, which ${weight.error}`);
  return ok({ service: draft, weight: weight.value });
}
