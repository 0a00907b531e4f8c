/**
 * The grammar of everything that other people write: service names, hosts, paths, addresses, meta and KV values.
 *
 * A parser answers with the value or with a sentence that says what is wrong and how to put it right. It never cleans
 * a value up: what was almost right is refused, so that no two parts of the system can read it differently.
 */

export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export const ok = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const refuse = (error: string): Parsed<never> => ({ ok: false, error });

/** At most this many characters of a foreign value are repeated in a message. */
const shownLength = 80;

/** What a terminal obeys instead of showing: control characters, and those that turn the direction of writing. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

export const escapeInvisible = (text: string): string =>
  text.replace(invisible, (c) => {
    const hex = (c.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
  });

/** A foreign value as it may be shown in a log or a message: quoted, escaped, bounded. */
export const show = (value: string): string =>
  escapeInvisible(JSON.stringify(value.length > shownLength ? `${value.slice(0, shownLength)}…` : value));

const segment = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/;
const maxNameLength = 200;
const nameRule =
  "use letters, digits, '_', '.' and '-' in segments that start with a letter or digit and are separated by '/', as in hello/v1";

/** A service name is also its URL path and, with `/` written `:`, its HAProxy backend. */
export function parseServiceName(name: string): Parsed<string> {
  if (name.length > maxNameLength)
    return refuse(`is longer than ${maxNameLength} characters: choose a shorter name`);
  if (!name.split("/").every((part) => segment.test(part)))
    return refuse(`is not a service name: ${nameRule}`);
  return ok(name);
}

export interface Version {
  /** `hello` of `hello/v2`. */
  readonly base: string;
  readonly number: number;
}

const versionSuffix = /^(.+)\/v(0|[1-9][0-9]{0,8})$/;

/** `hello/v2` is version 2 of `hello`; anything else is a service without versions. */
export function parseVersion(name: string): Version | undefined {
  const match = versionSuffix.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { base: match[1], number: Number(match[2]) };
}

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const host = new RegExp(`^(?=.{1,253}$)${label}(?:\\.${label})*$`);

export function parseHost(value: string): Parsed<string> {
  return host.test(value)
    ? ok(value)
    : refuse("is not a host name: write it in lower case without port or scheme, as in api.example.com");
}

const pathSegment = /^[A-Za-z0-9_~][A-Za-z0-9_.~-]{0,62}$/;

/** A route's path: `/`, or segments without a slash at the end. */
export function parsePath(value: string): Parsed<string> {
  if (value === "/") return ok(value);
  const good =
    value.length <= maxNameLength &&
    value.startsWith("/") &&
    value
      .slice(1)
      .split("/")
      .every((part) => pathSegment.test(part));
  return good ? ok(value) : refuse("is not a path: write it like /api/users, without a slash at the end");
}

const requestPath = /^\/[A-Za-z0-9_.~/%=&?:@,+-]{0,199}$/;

/** What a health check asks for: a path, and a query if need be. */
export function parseHealthPath(value: string): Parsed<string> {
  return requestPath.test(value)
    ? ok(value)
    : refuse("is not a path to ask for: write it like /health, percent-encode anything unusual");
}

export function parseInteger(value: string, min: number, max: number): Parsed<number> {
  const number = /^(?:0|[1-9][0-9]{0,9})$/.test(value) ? Number(value) : NaN;
  return number >= min && number <= max ? ok(number) : refuse(`is not a whole number from ${min} to ${max}`);
}

export function parseBoolean(value: string): Parsed<boolean> {
  if (value === "true" || value === "1") return ok(true);
  if (value === "false" || value === "0") return ok(false);
  return refuse("is neither true nor false");
}

export function oneOf<T extends string>(value: string, allowed: readonly T[]): Parsed<T> {
  const found = allowed.find((name) => name === value);
  return found === undefined ? refuse(`is none of ${allowed.join(", ")}`) : ok(found);
}

const unit: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const longest = 24 * 3_600_000;

/** Milliseconds, or a number with the unit ms, s, m or h, as HAProxy itself takes it. */
export function parseDuration(value: string): Parsed<number> {
  const match = /^([1-9][0-9]{0,8})(ms|s|m|h)?$/.exec(value);
  const milliseconds = Number(match?.[1]) * (unit[match?.[2] ?? "ms"] ?? 1);
  return milliseconds <= longest
    ? ok(milliseconds)
    : refuse("is not a duration: write milliseconds (5000) or a unit (5s, 2m, 1h), from 1ms to 24h");
}

/** Milliseconds in the largest unit that leaves a whole number: `2m`, `1500ms`. */
export function writeDuration(milliseconds: number): string {
  const [name, size] = Object.entries(unit).findLast(([, each]) => milliseconds % each === 0) ?? ["ms", 1];
  return `${milliseconds / size}${name}`;
}

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
const ipv6 = /^(?=.*:)[0-9a-f:]{2,39}$/i;

/** An IP address that a connection can be made to. Names are refused: HAProxy would have to resolve them to start. */
export function parseAddress(value: string): Parsed<string> {
  if (ipv4.test(value) && !value.startsWith("0.")) return ok(value);
  if (ipv6.test(value) && isIpv6(value) && !/^[0:]+$/.test(value)) return ok(value.toLowerCase());
  return refuse(
    "is not an IP address that can be connected to: register the service with its node's address",
  );
}

/** IPv6 without zone or embedded IPv4: eight groups, or fewer around one `::`. */
function isIpv6(value: string): boolean {
  const halves = value.split("::");
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return halves.length === 2 ? groups.length <= 7 : groups.length === 8;
}

/** The name of the backend of a service. `:` cannot be in a service name, so no two services share one. */
export const backendName = (service: string): string => `svc:${service.replaceAll("/", ":")}`;

/** The name of a server: where it is, so that a log line says it and two registrations of one port are one server. */
export const serverName = (address: string, port: number): string =>
  address.includes(":") ? `ip6.${address}.${port}` : `${address}:${port}`;

/** The keys in Consul's KV that the load balancer reads. */
export const kv = {
  prefix: "service/haproxy/",
  maxconn: "service/haproxy/maxconn",
  timeout: {
    connect: "service/haproxy/timeouts/connect",
    client: "service/haproxy/timeouts/client",
    server: "service/haproxy/timeouts/server",
  },
  /** Followed by the base name of a service: `service/haproxy/versions/hello` = `v1`, or `v1=90,v2=10`. */
  versions: "service/haproxy/versions/",
} as const;
