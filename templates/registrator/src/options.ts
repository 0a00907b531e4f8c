import { tagsOf } from "./service/metadata";
import type { Endpoint } from "./http";

export interface Options {
  readonly consul: Endpoint & { readonly label: string; readonly tlsFromEnv: boolean };
  readonly ip?: string;
  readonly hostname?: string;
  readonly internal: boolean;
  readonly explicit: boolean;
  readonly tags: readonly string[];
  readonly addressLabel?: string;
  readonly network?: string;
  readonly resyncSeconds: number;
  readonly killGraceSeconds?: number;
  /** Flags of Registrator that are taken and have no effect here, each with the reason. */
  readonly notes: readonly string[];
}

export class UsageError extends Error {}

const booleans = new Set(["internal", "explicit", "cleanup", "help", "version"]);
const valued = new Set([
  "ip",
  "hostname",
  "tags",
  "useIpFromLabel",
  "network",
  "resync",
  "kill-grace",
  "consul",
  "deregister",
  "ttl",
  "ttl-refresh",
  "retry-attempts",
  "retry-interval",
]);

export const usage = `Usage: registrator [flags] [consul://HOST:PORT]

  -ip ADDRESS           register this address instead of the one found on this machine
  -hostname NAME        first part of every service ID (default: this machine's name)
  -internal             register the container's own address and port instead of the published one
  -network NAME         with -internal: the network whose address is registered
  -explicit             register only containers with a SERVICE_NAME
  -tags A,B             add these tags to every service
  -useIpFromLabel LABEL take the address from this label of the container
  -resync SECONDS       how often to compare Docker and Consul (default 2; 0: at start and on reconnection only)
  -kill-grace SECONDS   register a container again that still runs so long after a signal to stop
                        (default: its stop timeout and 5 s; for a Swarm task an hour)
  -consul HOST:PORT     the same as consul://HOST:PORT (default 127.0.0.1:8500)
  -help, -version

Flags may be written with one dash or two, and as -flag VALUE or -flag=VALUE.
Environment: DOCKER_HOST, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN; with consul-tls:// CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY.`;

export function parseOptions(args: readonly string[], env: NodeJS.ProcessEnv): Options | "help" | "version" {
  const { flags, positional } = split(args);
  if (flags.has("help")) return "help";
  if (flags.has("version")) return "version";
  if (positional.length > 1) {
    throw new UsageError(`There is one address of Consul, but the arguments are ${positional.join(" ")}.`);
  }
  const get = (name: string) => flags.get(name) || undefined;
  const consul = positional[0] ?? get("consul") ?? (env.CONSUL_HTTP_ADDR || "127.0.0.1:8500");
  const tags = get("tags") ?? "";
  if (tags.includes("{{")) {
    throw new UsageError("-tags: Go templates are not supported; give a comma-separated list.");
  }
  const deregister = get("deregister") ?? "always";
  if (deregister !== "always") {
    throw new UsageError(
      `-deregister ${deregister}: only "always" is supported; a container that has ended is no instance of a service.`,
    );
  }
  const ip = get("ip");
  const hostname = get("hostname");
  const addressLabel = get("useIpFromLabel");
  const network = get("network");
  const grace = number("kill-grace", get("kill-grace"));
  return {
    consul: consulEndpoint(consul),
    internal: isTrue("internal", flags.get("internal")),
    explicit: isTrue("explicit", flags.get("explicit")),
    tags: tagsOf(tags),
    resyncSeconds: number("resync", get("resync")) ?? 2,
    notes: notesOn(flags),
    ...(ip && { ip }),
    ...(hostname && { hostname }),
    ...(addressLabel && { addressLabel }),
    ...(network && { network }),
    ...(grace !== undefined && { killGraceSeconds: grace }),
  };
}

function notesOn(flags: ReadonlyMap<string, string>): string[] {
  const has = (...names: string[]) => names.filter((name) => flags.has(name)).map((name) => `-${name}`);
  return [
    ...has("cleanup").map((flag) => `${flag}: what has gone is always cleaned up.`),
    ...has("ttl", "ttl-refresh").map((flag) => `${flag} has no effect: with Consul it never had one.`),
    ...has("retry-attempts", "retry-interval").map(
      (flag) => `${flag} has no effect: Consul is tried until it answers.`,
    ),
  ];
}

function split(args: readonly string[]) {
  const flags = new Map<string, string>();
  const positional: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    if (!arg.startsWith("-") || arg === "-") {
      positional.push(arg);
      continue;
    }
    const [, name = "", given] = /^--?([^=]*)(?:=(.*))?$/s.exec(arg) ?? [];
    if (booleans.has(name)) flags.set(name, given ?? "true");
    else if (!valued.has(name))
      throw new UsageError(`Unknown flag ${arg}; registrator -help lists the flags.`);
    else {
      const value = given ?? args[++at];
      if (value === undefined) throw new UsageError(`The flag -${name} needs a value: -${name}=VALUE.`);
      flags.set(name, value);
    }
  }
  return { flags, positional };
}

function isTrue(name: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (["true", "1", "t"].includes(value.toLowerCase())) return true;
  if (["false", "0", "f"].includes(value.toLowerCase())) return false;
  throw new UsageError(`-${name}=${value}: it is true or false.`);
}

function number(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = Number(value);
  if (/^\d+(\.\d+)?$/.test(value) && seconds <= 86_400) return seconds;
  throw new UsageError(`-${name}=${value}: it is a number of seconds up to 86400.`);
}

function consulEndpoint(address: string): Options["consul"] {
  const [, scheme = "consul", rest = ""] = /^(?:([a-z0-9-]+):\/\/)?(.*)$/.exec(address) ?? [];
  if (scheme === "consul-unix" || scheme === "unix") {
    return { socketPath: rest, label: address, tlsFromEnv: false };
  }
  const tls = scheme === "consul-tls" || scheme === "https";
  if (!tls && scheme !== "consul" && scheme !== "http") {
    throw new UsageError(`${address}: only Consul is supported, as consul://HOST:PORT.`);
  }
  const [, host = "", port = "8500"] = /^(\[[^\]]+\]|[^:/]*)(?::(\d+))?\/?$/.exec(rest) ?? [];
  const bare = host.replace(/^\[|\]$/g, "") || (rest === "" ? "127.0.0.1" : "");
  if (bare === "" || Number(port) < 1 || Number(port) > 65_535) {
    throw new UsageError(`${address} is no address of Consul; write it as consul://HOST:PORT.`);
  }
  return { host: bare, port: Number(port), label: `${host || bare}:${port}`, tlsFromEnv: tls };
}
