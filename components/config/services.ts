import { optionKeys } from "../../routing/service-options";
import {
  ConfigError,
  imagePattern,
  list,
  mapping,
  oneOf,
  onlyKeys,
  positive,
  strings,
  text,
  whole,
} from "./value";

/** What kind of thing the load balancer balances. */
export const serviceTypes = ["rest", "http", "tcp"] as const;
export type ServiceType = (typeof serviceTypes)[number];

/** A service of the configuration, with every default filled in. */
export interface ServiceConfig {
  /** Its name in Consul and, for `rest` and `http`, its path: `hello/v1` answers at `/hello/v1`. */
  readonly name: string;
  /** The name of its Swarm service: `hello/v1` is `hello-v1`. */
  readonly swarmName: string;
  /** An image that the nodes have or can pull, or a folder of `templates/` to build it from. */
  readonly source: { readonly image: string } | { readonly build: string };
  /** The port that the program in the container listens on. */
  readonly port: number;
  /** Default `rest`. */
  readonly type: ServiceType;
  /** Number of instances over all nodes. Default 1. */
  readonly replicas: number;
  /** Command instead of the image's own. */
  readonly command?: readonly string[];
  /** The most that one instance may use. Default: no limit. */
  readonly limits?: { readonly cpus?: number; readonly memoryBytes?: number };
  readonly env: Readonly<Record<string, string>>;
  /** Routing options, as `SERVICE_<KEY>` labels: `health_path`, `weight`, `host`, `path`, `tcp_port`, … */
  readonly meta: Readonly<Record<string, string>>;
  /** Docker health check instead of the image's own; `image` says that the image has one, which nobody can see here. */
  readonly healthCheck?: HealthCheckConfig | "image";
  /** Time that an instance has for ending its work, in seconds. Default 10. */
  readonly stopGracePeriodSeconds: number;
}

/** A command that says with its exit code whether the instance is well. */
export interface HealthCheckConfig {
  readonly command: readonly string[];
  /** Default 5. */
  readonly intervalSeconds: number;
  /** Default 3. */
  readonly timeoutSeconds: number;
  /** Failures in a row that make it unhealthy. Default 3. */
  readonly retries: number;
  /** Time for starting, in which failures do not count. Default 0. */
  readonly startPeriodSeconds: number;
}

const keys = [
  "name",
  "image",
  "build",
  "port",
  "type",
  "replicas",
  "command",
  "cpus",
  "memory",
  "env",
  "meta",
  "healthCheck",
  "stopGracePeriodSeconds",
] as const;

const healthCheckKeys = [
  "command",
  "intervalSeconds",
  "timeoutSeconds",
  "retries",
  "startPeriodSeconds",
] as const;

/** Swarm takes names of up to 63 characters. */
const nameForm = "lower-case words joined by / such as hello/v1, at most 63 characters";

/**
 * Reads one service of the configuration.
 *
 * @param key where it stands, for errors: `services[0]`
 * @throws ConfigError naming the key and its cure
 */
export function parseService(value: Readonly<Record<string, unknown>>, key: string): ServiceConfig {
  onlyKeys(value, key, keys);
  const name = text(value["name"], `${key}.name`, /^(?=.{1,63}$)[a-z0-9]+([._/-][a-z0-9]+)*$/, nameForm);
  if (value["port"] === undefined) {
    throw new ConfigError(
      `${key}.port`,
      `is missing, so nothing could reach ${name}`,
      "set the port that its program listens on",
    );
  }
  const meta = strings(value["meta"] ?? {}, `${key}.meta`, {
    pattern: /^[a-z][a-z0-9_]{0,63}$/,
    form: "lower-case letters, digits and underscores",
  });
  // `check_…` are Registrator's, for Consul's own checks.
  const options = Object.keys(meta).filter((option) => !option.startsWith("check_"));
  onlyKeys(Object.fromEntries(options.map((option) => [option, true])), `${key}.meta`, optionKeys);
  const type = oneOf(value["type"] ?? "rest", `${key}.type`, serviceTypes);
  if (type === "tcp" && meta["tcp_port"] === undefined) {
    throw new ConfigError(
      `${key}.meta.tcp_port`,
      `is missing, so the load balancer has no port for ${name}`,
      "set the port it is to listen on",
    );
  }
  return {
    name,
    swarmName: name.replace(/[/.]/g, "-"),
    source: parseSource(value, key),
    port: whole(value["port"], `${key}.port`, 1, 65535),
    type,
    replicas: whole(value["replicas"] ?? 1, `${key}.replicas`, 0, 1000),
    ...optional("command", value["command"], (command) => words(command, `${key}.command`)),
    ...optional("limits", value["cpus"] ?? value["memory"], () => ({
      ...optional("cpus", value["cpus"], (cpus) => positive(cpus, `${key}.cpus`, 1024)),
      ...optional("memoryBytes", value["memory"], (memory) => bytes(memory, `${key}.memory`)),
    })),
    env: strings(value["env"] ?? {}, `${key}.env`, {
      pattern: /^[A-Za-z_][A-Za-z0-9_]{0,254}$/,
      form: "letters, digits and underscores",
    }),
    meta,
    ...optional("healthCheck", value["healthCheck"], (check) =>
      parseHealthCheck(check, `${key}.healthCheck`),
    ),
    stopGracePeriodSeconds: whole(
      value["stopGracePeriodSeconds"] ?? 10,
      `${key}.stopGracePeriodSeconds`,
      1,
      3600,
    ),
  };
}

function parseSource(
  { image, build }: Readonly<Record<string, unknown>>,
  key: string,
): ServiceConfig["source"] {
  if ((image === undefined) === (build === undefined)) {
    throw new ConfigError(key, "needs either image or build", "set one of the two");
  }
  if (image !== undefined) {
    const form = 'an image reference such as "nginx:1.29"';
    return { image: text(image, `${key}.image`, imagePattern, form) };
  }
  const form = 'the name of a folder of templates/, such as "hello"';
  return { build: text(build, `${key}.build`, /^[a-z0-9]+(-[a-z0-9]+)*$/, form) };
}

function parseHealthCheck(value: unknown, key: string): HealthCheckConfig | "image" {
  if (value === "image") return value;
  const fields = mapping(value, key);
  onlyKeys(fields, key, healthCheckKeys);
  return {
    command: words(fields["command"], `${key}.command`),
    intervalSeconds: whole(fields["intervalSeconds"] ?? 5, `${key}.intervalSeconds`, 1, 3600),
    timeoutSeconds: whole(fields["timeoutSeconds"] ?? 3, `${key}.timeoutSeconds`, 1, 3600),
    retries: whole(fields["retries"] ?? 3, `${key}.retries`, 1, 100),
    startPeriodSeconds: whole(fields["startPeriodSeconds"] ?? 0, `${key}.startPeriodSeconds`, 0, 3600),
  };
}

function words(value: unknown, key: string): readonly string[] {
  const items = list(value, key).map((item, index) =>
    text(item, `${key}[${index}]`, /^[^\0]{1,4096}$/, "a word of the command"),
  );
  if (items.length === 0) {
    throw new ConfigError(key, "is empty", "name the program and its arguments, a word each");
  }
  return items;
}

const units = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const;

/** Docker's own way of writing sizes: `64m`, `1g`; Docker gives no container less than 6 MiB. */
function bytes(value: unknown, key: string): number {
  const [, digits, unit] =
    /^([1-9][0-9]{0,6})([kmg])$/.exec(
      text(value, key, /^[1-9][0-9]{0,6}[kmg]$/, 'a size such as "64m" or "1g"'),
    ) ?? [];
  const size = Number(digits) * units[unit as keyof typeof units];
  if (size < 6 * units.m) {
    throw new ConfigError(key, `is ${JSON.stringify(value)}`, 'Docker needs at least "6m"');
  }
  return size;
}

/** `{ [name]: parse(value) }`, or nothing where the value is not set. */
function optional<K extends string, T>(
  name: K,
  value: unknown,
  parse: (value: unknown) => T,
): Partial<Record<K, T>> {
  return value === undefined ? {} : ({ [name]: parse(value) } as Record<K, T>);
}
