/** Turns a compose file into services of a stack, and says of every key what became of it. Pure but for the paths that it makes relative. */
import path from "node:path";

import { isDocument, isScalar, parseDocument, visit } from "yaml";

import { UserError } from "../lib/errors";
import { isMapping } from "../lib/values";

type Mapping = Readonly<Record<string, unknown>>;

/** What became of a key. */
export interface Fate {
  /** Where it is in the compose file: `services.web.ports`. */
  readonly key: string;
  readonly fate: "kept" | "changed" | "left out";
  /** What it became, or why it was left out and the cure. */
  readonly text: string;
}

export interface Imported {
  readonly services: readonly Mapping[];
  readonly configs: Readonly<Record<string, Mapping>>;
  readonly fates: readonly Fate[];
}

/** Reads a compose file, with anchors and variables. All values are texts, as written. */
export function readCompose(text: string, env: Readonly<Record<string, string | undefined>>): Mapping {
  const document = parseDocument(text, { schema: "failsafe", merge: true });
  const [error] = document.errors;
  if (error !== undefined || !isDocument(document))
    throw new UserError(`The compose file is not valid YAML (${error?.message ?? ""}): correct it.`);
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || !isScalar(node) || typeof node.value !== "string") return;
      if (node.type === "PLAIN" && ["", "~", "null"].includes(node.value)) node.value = null;
      else node.value = interpolate(node.value, env);
    },
  });
  const value: unknown = document.toJS({ maxAliasCount: 1000 });
  if (!isMapping(value) || !isMapping(value["services"]))
    throw new UserError("The compose file has no services: name one that has.");
  if (value["include"] !== undefined)
    throw new UserError("The compose file has include: write it into one file with `docker compose config`.");
  for (const [name, service] of Object.entries(value["services"]))
    if (isMapping(service) && service["extends"] !== undefined)
      throw new UserError(
        `services.${name} has extends: write it into one file with \`docker compose config\`.`,
      );
  return value;
}

/** `$VAR`, `${VAR}`, and `:-`, `-`, `:?`, `?`, `:+`, `+` with what follows them; `$$` is a dollar. */
export function interpolate(text: string, env: Readonly<Record<string, string | undefined>>): string {
  const variable = /\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])((?:[^{}]|\{[^{}]*\})*))?\})/g;
  return text.replace(variable, (...match: (string | undefined)[]) => {
    const [, dollar, plain, braced = "", operator = "", other = ""] = match;
    if (dollar !== undefined) return "$";
    const name = plain ?? braced;
    const value = env[name];
    const isGiven = value !== undefined && !(operator.startsWith(":") && value === "");
    if (operator.endsWith("+")) return isGiven ? interpolate(other, env) : "";
    if (isGiven) return value;
    if (operator.endsWith("-")) return interpolate(other, env);
    if (operator.endsWith("?"))
      throw new UserError(
        `The variable ${name} is not set (${other}): set it in .env, or before the command.`,
      );
    return "";
  });
}

/** The words of a command line, without a shell. */
export function words(line: string): string[] {
  const found = line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs);
  return [...found].map(([word]) =>
    word.replace(
      /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
      (_, escaped?: string, double?: string, single?: string) =>
        escaped ?? double?.replace(/\\(["\\$`])/g, "$1") ?? single ?? "",
    ),
  );
}

const own = "use its own key here, see docs/services.md";
/** Why keys of a service have no counterpart. */
const leftOut: Readonly<Record<string, string>> = {
  container_name: "instances have names of their own",
  depends_on: "services start in any order, and Docker starts those again that end; let programs try again",
  networks: "all services reach each other through the load balancer, at rest.service.consul",
  links: "all services reach each other through the load balancer, at rest.service.consul",
  network_mode: "services have Docker's bridge network; for the host's, start a container yourself",
  hostname: "instances have names of their own",
  labels: "routing options are keys of meta here, see docs/routing.md",
  privileged: "Swarm has no privileged services; start a container yourself",
  devices: "Swarm gives services no devices; start a container yourself",
  security_opt: "Swarm has no such option; start a container yourself",
  working_dir: "set WORKDIR in the Dockerfile, or start the command with sh -c 'cd … && …'",
  stdin_open: "no terminal is attached to a service",
  tty: "no terminal is attached to a service",
  profiles: "a stack file is a profile; move the service to another one if this should not run it",
  pull_policy: "nodes pull images that they do not have",
  platform: "nodes run images of their own platform; with build, set build.platform",
  env_file: "its variables are for you to move: write them into env, passwords into secrets",
  shm_size: "mount a tmpfs at /dev/shm",
  sysctls: "set them on the nodes",
  dns: "instances use Consul's DNS, which asks the node's own for other names",
};

/** Ports of programs that speak no HTTP. */
const databases: Readonly<Record<string, number>> = {
  postgres: 5432, mysql: 3306, mariadb: 3306, redis: 6379, mongo: 27017, rabbitmq: 5672, memcached: 11211, nats: 4222,
}; // prettier-ignore

const list = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];

/** `KEY: value` or `KEY=value`, as a mapping; without a value it comes from the environment. */
function pairs(value: unknown, env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const entries: (readonly [string, unknown])[] = isMapping(value)
    ? Object.entries(value)
    : list(value).map((each) => {
        const [, key = "", , text] = /^([^=]*)(=(.*))?$/s.exec(String(each)) ?? [];
        return [key, text ?? null] as const;
      });
  return Object.fromEntries(
    entries.map(([key, text]) => [key, text === null ? (env[key] ?? "") : textOf(text)]),
  );
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** A path of the compose file's folder, relative to the stack file. */
function moved(file: string, folder: string): string {
  if (path.isAbsolute(file)) return file;
  const relative = path.relative("", path.resolve(folder, file));
  return relative === "" ? "." : relative.startsWith("..") ? relative : `./${relative}`;
}

const seconds = (text: string): number =>
  Math.max(1, Math.round([...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * ({ h: 3600, m: 60, s: 1, ms: 0.001 }[unit ?? "s"] ?? 0), 0))); // prettier-ignore

/** A name that the schema takes for a secret, and a shell as it is. */
const isName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/;
/** A word of a shell. */
const quoted = (word: string): string =>
  /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
/** Variables whose values are for nobody to read. */
const isSecret = /PASS(WORD|WD|PHRASE)?(_|$)|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY/i;

export interface Source {
  /** The command that encrypts a value from standard input. */
  readonly secretCommand: (key: string) => string;
  /** How many services the stack file has already. */
  readonly present: number;
  /** The folder of the compose file. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ports that the Dockerfile of a build exposes. */
  readonly exposed: (build: Mapping) => readonly number[];
}

export function convert(compose: Mapping, source: Source): Imported {
  const fates: Fate[] = [];
  const services = Object.entries(compose["services"] as Mapping).map(([name, value], index) =>
    convertService(
      name,
      isMapping(value) ? value : {},
      compose,
      { ...source, present: source.present + index },
      fates,
    ),
  );
  const configs: Record<string, Mapping> = {};
  for (const [key, value] of Object.entries(compose)) {
    if (key === "services") continue;
    if (key === "secrets" && isMapping(value)) {
      for (const [name, secret] of Object.entries(value)) {
        const file = isMapping(secret) && typeof secret["file"] === "string" ? moved(secret["file"], source.folder) : "FILE"; // prettier-ignore
        const text = isName.test(name)
          ? `is not copied; encrypt it: ${source.secretCommand(`secrets.${name}`)} <${quoted(file)}`
          : "has a name that no secret can have: use letters, digits, dots, dashes and underscores";
        fates.push({ key: `secrets.${name}`, fate: "left out", text });
      }
    } else if (key === "configs" && isMapping(value)) {
      for (const [name, config] of Object.entries(value)) {
        const { file, content } = isMapping(config) ? config : {};
        if (typeof file === "string") configs[name] = { file: moved(file, source.folder) };
        else if (typeof content === "string") configs[name] = { content };
        const isKept = configs[name] !== undefined;
        fates.push({ key: `configs.${name}`, fate: isKept ? "kept" : "left out", text: isKept ? `configs.${name}` : "has neither file nor content: write it into a file" }); // prettier-ignore
      }
    } else if (key === "volumes" && isMapping(value)) {
      for (const [name, volume] of Object.entries(value)) {
        const at = `volumes.${name}`;
        fates.push({ key: at, fate: "changed", text: "is made where a service mounts it; it starts empty" });
        for (const each of Object.keys(isMapping(volume) ? volume : {}).filter(
          (one) => one !== "driver_opts",
        ))
          fates.push({
            key: `${at}.${each}`,
            fate: "left out",
            text: "volumes are made by the stack, with names of its own",
          });
      }
    } else {
      const text = { version: "Compose itself ignores it", name: "the stack has the name of its file", networks: leftOut["networks"] ?? "" }[key]; // prettier-ignore
      fates.push({ key, fate: "left out", text: text ?? "is not known here" });
    }
  }
  return { services, configs, fates };
}

function convertService(
  original: string,
  given: Mapping,
  compose: Mapping,
  source: Source,
  fates: Fate[],
): Mapping {
  const name = original
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  const at = `services.${original}`;
  const say = (key: string, fate: Fate["fate"], text: string) =>
    fates.push({ key: `${at}.${key}`, fate, text });
  const drop = (key: string, why: string) => say(key, "left out", why);
  if (name !== original) fates.push({ key: at, fate: "changed", text: `is called ${name}` });
  const service: Record<string, unknown> = { name };
  const keep = (key: string, to: string, value: unknown) => {
    service[to] = value;
    say(key, key === to ? "kept" : "changed", to);
  };
  const argv = (value: unknown) => (typeof value === "string" ? words(value) : list(value).map(String));
  for (const [key, value] of Object.entries(given)) {
    const text = typeof value === "string" ? value : "";
    if (value === null) drop(key, "has no value");
    else if (key === "build") {
      const build: Mapping = typeof value === "string" ? { context: value } : (value as Mapping);
      const known = ["context", "dockerfile", "args", "target"];
      const kept = Object.fromEntries(known.filter((each) => build[each] !== undefined).map((each) => [each, build[each]])); // prettier-ignore
      const context = moved(textOf(build["context"]) || ".", source.folder);
      service["build"] = {
        ...kept,
        context,
        ...(build["args"] !== undefined && { args: pairs(build["args"], source.env) }),
      };
      say(key, "kept", "build");
      for (const other of Object.keys(build).filter((each) => !known.includes(each)))
        drop(
          `build.${other}`,
          other === "secrets" ? `list their names in build.secrets; ${own}` : "BuildKit builds without it",
        );
    } else if (key === "image") {
      if (given["build"] !== undefined) drop(key, "the image of a build has a name of its own");
      else {
        keep(key, "image", text);
        if (!/[:@][^/]*$/.test(text) || text.endsWith(":latest"))
          say(
            key,
            "changed",
            "needs a version: one without, or latest, is rejected, since it can change at any time",
          );
      }
    } else if (key === "environment") {
      const all = Object.entries(pairs(value, source.env));
      // A name with _FILE is where a secret is.
      const isHidden = ([variable, content]: [string, string]) =>
        isSecret.test(variable) && !/_FILE$/i.test(variable) && content !== "" && isName.test(variable);
      keep(key, "env", Object.fromEntries(all.filter((each) => !isHidden(each))));
      for (const [variable] of all.filter(isHidden))
        drop(
          `environment.${variable}`,
          `its value is not copied; encrypt it: ${source.secretCommand(`services[${source.present}].env.${variable}`)} <FILE`,
        );
    } else if (key === "command" || key === "entrypoint") keep(key, key, argv(value));
    else if (key === "tmpfs" || key === "cap_add" || key === "cap_drop") keep(key, key, list(value));
    else if (key === "user" || key === "stop_signal") keep(key, key, text);
    else if (key === "init" || key === "read_only") keep(key, key, text === "true");
    else if (key === "scale") keep(key, "replicas", Number(text));
    else if (key === "stop_grace_period") keep(key, "stopGracePeriodSeconds", seconds(text));
    else if (key === "extra_hosts")
      keep(key, key, list(value).length > 0 && isMapping(value) ? value : list(value));
    else if (key === "restart") {
      if (text === "always" || text === "unless-stopped")
        say(key, "kept", "is what Docker does with services");
      else keep(key, "restart_policy", { condition: text === "no" ? "none" : "on-failure" });
    } else if (key === "secrets" || key === "configs") keep(key, key, list(value));
    else if (key === "volumes") {
      const kept = list(value).flatMap((each) =>
        volumeOf(each, name, compose, source, (why) => drop(key, why)),
      );
      if (kept.length > 0) keep(key, key, kept);
    } else if (key === "healthcheck" && isMapping(value)) {
      const test = value["test"];
      const [kind, ...rest] = typeof test === "string" ? ["CMD-SHELL", test] : list(test).map(String);
      if (value["disable"] !== undefined || kind === "NONE" || kind === undefined) drop(key, "has no test");
      else {
        const times = {
          interval: "intervalSeconds",
          timeout: "timeoutSeconds",
          start_period: "startPeriodSeconds",
        };
        const set = Object.entries(times).filter(([each]) => typeof value[each] === "string");
        keep(key, "healthCheck", {
          command: kind === "CMD" ? rest : ["sh", "-c", rest.join(" ")],
          ...Object.fromEntries(set.map(([each, to]) => [to, seconds(String(value[each]))])),
          ...(typeof value["retries"] === "string" && { retries: Number(value["retries"]) }),
        });
        for (const each of Object.keys(value).filter(
          (one) => !(one in times) && one !== "test" && one !== "retries",
        ))
          drop(`healthcheck.${each}`, each === "start_interval" ? "checks begin at the interval" : own);
      }
    } else if (key === "deploy" && isMapping(value)) {
      for (const [part, inner] of Object.entries(value)) {
        const limits = isMapping(inner) && isMapping(inner["limits"]) ? inner["limits"] : undefined;
        if (part === "replicas") keep("deploy.replicas", "replicas", Number(inner));
        else if (part === "resources" && limits !== undefined) {
          if (limits["cpus"] !== undefined)
            keep("deploy.resources.limits.cpus", "cpus", Number(limits["cpus"]));
          const size = /^([\d]+)([kmg])b?$/i.exec(textOf(limits["memory"]));
          if (size !== null)
            keep(
              "deploy.resources.limits.memory",
              "memory",
              `${size[1] ?? ""}${size[2] ?? ""}`.toLowerCase(),
            );
          const others = (of: string, known: readonly string[], found: Mapping) => {
            for (const each of Object.keys(found).filter((one) => !known.includes(one)))
              drop(
                `deploy.resources.${of}${each}`,
                each === "reservations" ? "limits are what counts here" : own,
              );
          };
          others("", ["limits"], inner as Mapping);
          others("limits.", ["cpus", ...(size === null ? [] : ["memory"])], limits);
        } else drop(`deploy.${part}`, own);
      }
    } else if (key !== "ports" && key !== "expose")
      drop(key, leftOut[key] ?? `has no counterpart that this import knows; ${own}`);
  }
  addPort(service, given, source, say);
  return service;
}

/** Compose's short or long form, or nothing if it has no counterpart. */
function volumeOf(
  each: unknown,
  service: string,
  compose: Mapping,
  { folder }: Source,
  drop: (why: string) => void,
): unknown[] {
  const [first = "", second, mode] = typeof each === "string" ? each.split(":") : [];
  const long: Mapping = isMapping(each)
    ? each
    : {
        source: second === undefined ? undefined : first,
        target: second ?? first,
        read_only: /\bro\b/.test(mode ?? "") ? "true" : undefined,
      };
  const { type, source, target, read_only: readOnly } = long;
  if (typeof target !== "string" || (type !== undefined && type !== "volume" && type !== "bind")) {
    drop(`${JSON.stringify(each)} has no counterpart; ${own}`);
    return [];
  }
  for (const other of Object.keys(long).filter(
    (key) => !["type", "source", "target", "read_only"].includes(key),
  ))
    drop(`${other} of ${target} has no counterpart; ${own}`);
  if (typeof source === "string" && source.endsWith("docker.sock")) {
    drop("no service gets Docker's socket, which controls the node");
    return [];
  }
  const isPath = typeof source === "string" && /^[./~]/.test(source);
  const from = isPath ? moved(source, folder) : typeof source === "string" ? source : `${service}${target.replace(/[^a-zA-Z0-9]+/g, "-")}`; // prettier-ignore
  const volumes = isMapping(compose["volumes"]) ? compose["volumes"] : {};
  const declared = isPath ? undefined : volumes[from];
  const options =
    isMapping(declared) && isMapping(declared["driver_opts"]) ? declared["driver_opts"] : undefined;
  if (options !== undefined)
    return [{ type: "volume", source: from, target, driver_opts: options, ...(readOnly === "true" && { read_only: true }) }]; // prettier-ignore
  return [`${from}:${target}${readOnly === "true" ? ":ro" : ""}`];
}

const isLoopback = (host: string): boolean => /^(127\.|localhost$|\[?::1\]?$)/.test(host);

/** The port, the type and the route: published ones as Compose publishes them, others for the containers of the stack only. */
function addPort(
  service: Record<string, unknown>,
  given: Mapping,
  source: Source,
  say: (key: string, fate: Fate["fate"], text: string) => unknown,
): void {
  const isUdp = (each: unknown) =>
    isMapping(each) ? each["protocol"] === "udp" : /\/udp$/.test(textOf(each));
  const published = list(given["ports"]);
  if (published.some(isUdp)) say("ports", "left out", "UDP is not balanced: start a container yourself");
  const ports = published
    .filter((each) => !isUdp(each))
    .map((each) => {
      if (isMapping(each))
        return {
          target: Number(each["target"]),
          published: Number(each["published"] ?? NaN),
          host: textOf(each["host_ip"]),
        };
      const [, host = "", published, target = ""] =
        /^(?:(\[[^\]]*\]|[^:]*):(?=[^:]*:))?(?:([^:]*):)?([^:]*)$/.exec(String(each).replace(/\/tcp$/, "")) ??
        [];
      return { target: Number(target), published: Number(published ?? NaN), host };
    });
  const image =
    textOf(given["image"])
      .replace(/[:@].*$/, "")
      .split("/")
      .at(-1) ?? "";
  const database = databases[image];
  const build = service["build"];
  const internal = [...list(given["expose"]).map(Number), ...(isMapping(build) ? source.exposed(build) : []), ...(database === undefined ? [] : [database])]; // prettier-ignore
  const name = textOf(service["name"]);
  const [first, ...more] = ports;
  const port = first?.target ?? internal[0];
  const key = given["ports"] !== undefined ? "ports" : given["expose"] !== undefined ? "expose" : "";
  if (port === undefined || !Number.isInteger(port)) {
    service["type"] = "none";
    if (key !== "") say(key, "left out", "has no single TCP port: write port, type and meta yourself");
    else
      say(
        "type",
        "changed",
        "none: no port is published, exposed or known. If others call it, set port and type",
      );
    return;
  }
  const isTcp = Object.values(databases).includes(port);
  const meta: Record<string, string> = { ...(service["healthCheck"] === undefined && { check_tcp: "true" }) };
  service["port"] = port;
  if (isTcp) {
    service["type"] = "tcp";
    meta["tcp_port"] = String(Number.isInteger(first?.published) ? first?.published : port);
  }
  const address = isTcp
    ? `rest.service.consul:${meta["tcp_port"] ?? ""}`
    : `http://rest.service.consul/${name}`;
  const called = `other services reach it at ${address}, not at ${name}:${port}: change what names it`;
  // Compose publishes only `ports`.
  const isInner = first === undefined || isLoopback(first.host);
  const inner = isInner ? ", meta.internal: true" : "";
  if (isInner) meta["internal"] = "true";
  for (const { host, target } of ports.filter((each) => each.host !== "" && !isLoopback(each.host)))
    say(
      "ports",
      "left out",
      `the address ${host} of port ${target}: it is reached through the load balancers, at every address`,
    );
  const text = `port: ${port}${isTcp ? ", type: tcp" : ""}${inner}; ${called}`;
  say(key === "" ? "port" : key, "changed", text);
  if (given["ports"] !== undefined && given["expose"] !== undefined)
    say("expose", "changed", "is part of port");
  const further = more.filter(({ target }) => Number.isInteger(target) && target !== port);
  if (further.length > 0) {
    service["ports"] = further.map(({ target, published: at, host }) => {
      const isTcpToo = Object.values(databases).includes(target);
      const options = {
        ...(isTcpToo && { tcp_port: String(Number.isInteger(at) ? at : target) }),
        ...(isLoopback(host) && { internal: "true" }),
      };
      return {
        port: target,
        ...(isTcpToo && { type: "tcp" }),
        ...(Object.keys(options).length > 0 && { meta: options }),
      };
    });
    const names = further.map(({ target }) => `${name}-${target}`).join(", ");
    say("ports", "changed", `ports: ${names}; give those that speak no HTTP type: tcp and a meta.tcp_port`);
  }
  for (const each of more.filter((one) => !further.includes(one)))
    say("ports", "left out", `${each.target} has no single port: list each in ports`);
  if (Object.keys(meta).length > 0) service["meta"] = meta;
}
