import { UserError } from "../../../lib/errors";
import type { Endpoint } from "../../../lib/http";
import { tagsOf } from "../../../routing/registration";

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
  /** A sentence for each accepted flag of the original Registrator that has no effect here. */
  readonly notes: readonly string[];
}

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

  -ip ADDRESS           this node's address for other nodes, instead of the detected one
  -hostname NAME        first part of every service ID (default: this machine's name)
  -internal             register the container's own address and port instead of the published ones
  -network NAME         with -internal: the network whose address is registered
  -explicit             register only containers with a SERVICE_NAME
  -tags A,B             add these tags to every service
  -useIpFromLabel LABEL take the address from this label of the container
  -resync SECONDS       how often to compare Docker and Consul (default 2; 0: at start and on reconnection only)
  -kill-grace SECONDS   register any container again that still runs this long after a stop signal (default: one
                        with a health check once it passes after a minute or its longer stop timeout, others
                        after an hour)
  -consul HOST:PORT     the same as consul://HOST:PORT (default 127.0.0.1:8500)
  -help, -version

Flags may be written with one dash or two, and as -flag VALUE or -flag=VALUE.
Environment: DOCKER_HOST, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE; with consul-tls:// CONSUL_CACERT,
CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY.`;

export function parseOptions(args: readonly string[], env: NodeJS.ProcessEnv): Options | "help" | "version" {
  const { flags, positional } = split(args);
  if (flags.has("help")) return "help";
  if (flags.has("version")) return "version";
  if (positional.length > 1) {
    throw new UserError(`Give one address of Consul, not several: ${positional.join(" ")}.`);
  }
  const get = (name: string) => flags.get(name) || undefined;
  const consul = positional[0] ?? get("consul") ?? (env.CONSUL_HTTP_ADDR || "127.0.0.1:8500");
  const tags = get("tags") ?? "";
  if (tags.includes("{{")) {
    throw new UserError("-tags: Go templates are not supported; give a comma-separated list.");
  }
  const deregister = get("deregister") ?? "always";
  if (deregister !== "always") {
    throw new UserError(
      `-deregister ${deregister}: only "always" is supported; an ended container provides no service.`,
    );
  }
  const ip = get("ip");
  const hostname = get("hostname");
  const addressLabel = get("useIpFromLabel");
  const network = get("network");
  const killGraceSeconds = seconds("kill-grace", get("kill-grace"));
  return {
    consul: consulEndpoint(consul),
    internal: isTrue("internal", flags.get("internal")),
    explicit: isTrue("explicit", flags.get("explicit")),
    tags: tagsOf(tags),
    resyncSeconds: seconds("resync", get("resync")) ?? 2,
    notes: notesOn(flags),
    ...(ip && { ip }),
    ...(hostname && { hostname }),
    ...(addressLabel && { addressLabel }),
    ...(network && { network }),
    ...(killGraceSeconds !== undefined && { killGraceSeconds }),
  };
}

function notesOn(flags: ReadonlyMap<string, string>): string[] {
  const has = (...names: string[]) => names.filter((name) => flags.has(name)).map((name) => `-${name}`);
  return [
    ...has("cleanup").map((flag) => `${flag} has no effect: stale services are always removed.`),
    ...has("ttl", "ttl-refresh").map((flag) => `${flag} has no effect: it never had one with Consul.`),
    ...has("retry-attempts", "retry-interval").map(
      (flag) => `${flag} has no effect: Registrator retries until Consul answers.`,
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
      throw new UserError(`Unknown flag ${arg}; registrator -help lists the flags.`);
    else {
      const value = given ?? args[++at];
      if (value === undefined) throw new UserError(`The flag -${name} needs a value: -${name}=VALUE.`);
      flags.set(name, value);
    }
  }
  return { flags, positional };
}

function isTrue(name: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (["true", "1", "t"].includes(value.toLowerCase())) return true;
  if (["false", "0", "f"].includes(value.toLowerCase())) return false;
  throw new UserError(`-${name}=${value}: it must be true or false.`);
}

function seconds(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const given = Number(value);
  if (/^\d+(\.\d+)?$/.test(value) && given <= 86_400) return given;
  throw new UserError(`-${name}=${value}: it must be a number of seconds up to 86400.`);
}

function consulEndpoint(address: string): Options["consul"] {
  const [, scheme = "consul", rest = ""] = /^(?:([a-z0-9-]+):\/\/)?(.*)$/.exec(address) ?? [];
  if (scheme === "consul-unix" || scheme === "unix") {
    return { socketPath: rest, label: address, tlsFromEnv: false };
  }
  const tls = scheme === "consul-tls" || scheme === "https";
  if (!tls && scheme !== "consul" && scheme !== "http") {
    throw new UserError(`${address}: only Consul is supported; write it as consul://HOST:PORT.`);
  }
  const [, host = "", port = "8500"] = /^(\[[^\]]+\]|[^:/]*)(?::(\d+))?\/?$/.exec(rest) ?? [];
  const bare = host.replace(/^\[|\]$/g, "") || (rest === "" ? "127.0.0.1" : "");
  if (bare === "" || Number(port) < 1 || Number(port) > 65_535) {
    throw new UserError(`${address} is not an address of Consul; write it as consul://HOST:PORT.`);
  }
  return { host: bare, port: Number(port), label: `${host || bare}:${port}`, tlsFromEnv: tls };
}
