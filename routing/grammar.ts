/**
 * The grammar of everything that users write: service names, hosts, paths, addresses, meta and KV values.
 *
 * A parser returns the value, or the rest of a sentence that names the problem and the cure. It never repairs a value: an
 * almost valid one is rejected, so that no two parts of the system can interpret it differently.
 */
import { isIP, isIPv4, isIPv6 } from "node:net";

import { escapeInvisible } from "../lib/text";

export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

export const ok = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const refuse = (error: string): Parsed<never> => ({ ok: false, error });

/** Messages show at most this many characters of a user's value. */
const shownLength = 80;

/** A user's value for a log or message: quoted, escaped and truncated. */
export const show = (value: string): string =>
  escapeInvisible(JSON.stringify(value.length > shownLength ? `${value.slice(0, shownLength)}…` : value));

const segment = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/;
const maxNameLength = 200;
const nameRule =
  "use letters, digits, '_', '.' and '-' in segments that start with a letter or digit and are separated by '/', as in hello/v1";

/** A service's name is also its URL path and, with `:` instead of `/`, its HAProxy backend. */
export function parseServiceName(name: string): Parsed<string> {
  if (name.length > maxNameLength)
    return refuse(`is longer than ${maxNameLength} characters: choose a shorter name`);
  if (!name.split("/").every((part) => segment.test(part)))
    return refuse(`is not a service name: ${nameRule}`);
  return ok(name);
}

export interface Version {
  /** `hello` for `hello/v2`. */
  readonly base: string;
  readonly number: number;
}

const versionSuffix = /^(.+)\/v(0|[1-9][0-9]{0,8})$/;

/** `hello/v2` is version 2 of `hello`. Undefined for a name without a version. */
export function parseVersion(name: string): Version | undefined {
  const match = versionSuffix.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { base: match[1], number: Number(match[2]) };
}

const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const host = new RegExp(`^(?=.{1,253}$)${label}(?:\\.${label})*$`);

/** The load balancer looks wildcards up by their number of labels, so it has to end somewhere. */
export const mostWildcardLabels = 6;
const wildcard = new RegExp(`^\\*\\.(?=.{1,251}$)${label}(?:\\.${label}){0,${mostWildcardLabels - 1}}$`);

/** Whether a host, or a key that begins with one, is all names under a domain. */
export const isWildcard = (host: string): boolean => host.startsWith("*.");

/** A host name. */
export function parseHostName(value: string): Parsed<string> {
  return host.test(value)
    ? ok(value)
    : refuse("is not a host name: write it in lower case without port or scheme, as in api.example.com");
}

/** The name of a file of certificates. Strict, because it goes into HAProxy's configuration and into runtime commands. */
export function parsePemName(value: string): Parsed<string> {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.pem$/.test(value)
    ? ok(value)
    : refuse("is not the name of a file NAME.pem: write it without its folder, as in internal.pem");
}

/** A host name, or `*.` and a domain for all names under it. */
export function parseHost(value: string): Parsed<string> {
  return host.test(value) || wildcard.test(value)
    ? ok(value)
    : refuse(
        `is not a host name: write it in lower case without port or scheme, as in api.example.com, or as *.example.com for all names under a domain of at most ${mostWildcardLabels} labels; separate several with commas`,
      );
}

/** The load balancer answers it itself, for balancers in front: no service can have it. */
export const readyPath = "/.well-known/switchyard/ready";

const pathSegment = /^[A-Za-z0-9_~][A-Za-z0-9_.~-]{0,62}$/;

/** A route's path: `/`, or segments without a trailing slash. */
export function parsePath(value: string): Parsed<string> {
  if (value === "/") return ok(value);
  if (value === readyPath)
    return refuse("is the load balancer's own, where it says whether it is ready: choose another path");
  const good =
    value.length <= maxNameLength &&
    value.startsWith("/") &&
    value
      .slice(1)
      .split("/")
      .every((part) => pathSegment.test(part));
  return good
    ? ok(value)
    : refuse(
        "is not a path: write it like /api/users, without a slash at the end; separate several with commas",
      );
}

const longestList = 16;

/** One value, or several separated by commas. They stay one text. */
export function parseList(value: string, parse: (item: string) => Parsed<string>): Parsed<string> {
  const items = value.split(",");
  if (items.length > longestList)
    return refuse(`lists more than ${longestList} values: split the service, or list fewer`);
  const wrong = items.map(parse).find((item) => !item.ok);
  if (wrong !== undefined) return wrong;
  const twice = items.find((item, index) => items.indexOf(item) !== index);
  return twice === undefined ? ok(value) : refuse(`lists ${show(twice)} twice: list it once`);
}

const requestPath = /^\/[A-Za-z0-9_.~/%=&?:@,+-]{0,199}$/;

/** The target of a health check: a path with an optional query. */
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

/** Milliseconds, or a number with the unit ms, s, m or h, as in HAProxy's configuration; returns milliseconds. */
export function parseDuration(value: string): Parsed<number> {
  const match = /^([1-9][0-9]{0,8})(ms|s|m|h)?$/.exec(value);
  const milliseconds = Number(match?.[1]) * (unit[match?.[2] ?? "ms"] ?? 1);
  return milliseconds <= longest
    ? ok(milliseconds)
    : refuse("is not a duration: write milliseconds (5000) or a unit (5s, 2m, 1h), from 1ms to 24h");
}

/** Milliseconds in the largest unit that gives a whole number: `2m`, `1500ms`. */
export function writeDuration(milliseconds: number): string {
  const [name, size] = Object.entries(unit).findLast(([, each]) => milliseconds % each === 0) ?? ["ms", 1];
  return `${milliseconds / size}${name}`;
}

/** A full name in DNS, in lower case. A number at its end would make it a mistyped address. */
export function parseDnsName(value: string): Parsed<string> {
  const name = value.toLowerCase();
  return host.test(name) && /\.[a-z0-9-]*[a-z][a-z0-9-]*$/.test(name)
    ? ok(name)
    : refuse("is not a full name in DNS, such as db.example.com");
}

/** An IP address to connect to. IPv6 addresses must have no zone and no embedded IPv4 address. */
export function parseAddress(value: string): Parsed<string> {
  if (isIPv4(value) && !value.startsWith("0.")) return ok(value);
  if (isIPv6(value) && /^[0-9a-f:]+$/i.test(value) && !/^[0:]+$/.test(value)) return ok(value.toLowerCase());
  return refuse(
    "is not an IP address that can be connected to, nor a full name in DNS, such as db.example.com: register the service with one of them, without port or scheme",
  );
}

/** An address, or a network such as 10.0.0.0/8. */
export function parseNetwork(value: string): Parsed<string> {
  const [address = "", bits, ...more] = value.split("/");
  const family = isIP(address);
  const good =
    family !== 0 &&
    !address.includes("%") &&
    more.length === 0 &&
    (bits === undefined || parseInteger(bits, 0, family === 4 ? 32 : 128).ok);
  return good ? ok(value) : refuse("is neither an address nor a network, as 192.0.2.7 and 10.0.0.0/8 are");
}

/** The name of a service's backend. Service names contain no `:`, so no two services share a backend. */
export const backendName = (service: string): string => `svc:${service.replaceAll("/", ":")}`;

/** A server is named after its address: log lines show it, and two registrations of one port become one server. */
export const serverName = (address: string, port: number): string =>
  address.includes(":") ? `ip6.${address}.${port}` : `${address}:${port}`;

/** The keys that the load balancer reads in Consul's KV. */
export const kv = {
  prefix: "service/haproxy/",
  maxconn: "service/haproxy/maxconn",
  timeout: {
    connect: "service/haproxy/timeouts/connect",
    client: "service/haproxy/timeouts/client",
    server: "service/haproxy/timeouts/server",
  },
  headers: {
    bytes: "service/haproxy/headers/bytes",
    fields: "service/haproxy/headers/fields",
  },
  /** A prefix of base names: `service/haproxy/versions/hello` is `v1`, or `v1=90,v2=10`. */
  versions: "service/haproxy/versions/",
} as const;
