/** Turns a compose file into services of a stack, and says of every key what became of it. Pure but for the paths that it makes relative. */
import { isMapping } from "../lib/values";
import type { Fate, Say } from "./fate";
import { configsOf, isName, secretsOf } from "./files";
import { addNetworks, cleaned, sayNetworks } from "./networks";
import { addPorts, rootOf, type Port } from "./ports";
import {
  list,
  notText,
  pairs,
  seconds,
  secretWords,
  textIn,
  textOf,
  words,
  type Files,
  type Mapping,
} from "./read";
import { inEnv, shown, step, withoutSecrets } from "./shown";
import { noVariable, readVariables, type Scope } from "./variables";
import { moved, sayVolumes, volumeOf } from "./volumes";

export interface Imported {
  readonly services: readonly Mapping[];
  readonly configs: Readonly<Record<string, Mapping>>;
  /** Values to encrypt, by key in the stack file: `secrets.db`, `services[2].env.DB_PASSWORD`. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly fates: readonly Fate[];
}

const setIt = ": set it in .env, and import again";
const notSet = `is not set${setIt}`;
const own = "use its own key here, see docs/services.md";
/** Why keys of a service have no counterpart. */
const leftOut: Readonly<Record<string, string>> = {
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
  shm_size: "mount a tmpfs at /dev/shm",
  sysctls: "set them on the nodes",
  dns: "instances use Consul's DNS, which asks the node's own for other names",
};

/** Keys whose secrets are encrypted or left out where they are converted, and those that are left out anyway. */
const handled = ["command", "entrypoint", "environment", "env_file", ...Object.keys(leftOut)];

/** Stands in a command where an encrypted value takes its place. */
const placeholder = "to be encrypted";

export interface Source extends Files, Scope {
  /** The command that encrypts a value from standard input. */
  readonly secretCommand: (key: string) => string;
  /** How many services the stack file has already. */
  readonly present: number;
  /** The folder of the compose file. */
  readonly folder: string;
  /** Whether a service of the stack file has the path `/` already. */
  readonly hasRoot: boolean;
  /** What Compose calls the file unless it has a `name`: the folder. */
  readonly project: string;
}

/** What all services of a file share. */
interface Job extends Source {
  readonly compose: Mapping;
  readonly services: Mapping;
  /** The port that gets the path `/`. */
  readonly root: Port | undefined;
  readonly secrets: Map<string, string>;
  readonly say: Say;
}

export function convert(whole: Mapping, source: Source): Imported {
  const fates: Fate[] = [];
  const say: Say = (key, fate, text) => fates.push({ key, fate, text });
  const compose = withoutSecrets(whole, source, handled, (key, text) => say(key, "left out", text));
  const secrets = new Map<string, string>();
  const given = compose["services"] as Mapping;
  const root = source.hasRoot ? undefined : rootOf(Object.values(given).filter(isMapping));
  const project = textOf(compose["name"]) || source.project;
  const job = { ...source, project, compose, services: given, root, secrets, say };
  const services = Object.entries(given).map(([name, value], index) =>
    convertService(name, isMapping(value) ? value : {}, source.present + index, job),
  );
  let configs: Imported["configs"] = {};
  for (const [key, value] of Object.entries(compose)) {
    if (key === "services") continue;
    if (key === "secrets" && isMapping(value)) {
      for (const [name, content] of secretsOf(value, source, say)) secrets.set(name, content);
    } else if (key === "configs" && isMapping(value)) configs = configsOf(value, source.folder, say);
    else if (key === "volumes" && isMapping(value)) sayVolumes(value, say);
    else {
      if (key === "networks" && isMapping(value)) sayNetworks(value, say);
      const text = { version: "Compose itself ignores it", networks: "are made where a service is on them", name: "is what the network of its services is called" }[key]; // prettier-ignore
      say(key, text === undefined ? "left out" : "changed", text ?? "is not known here");
    }
  }
  for (const name of source.unset)
    say(`\${${name}}`, "changed", `is not set, and was taken as empty${setIt}`);
  const { hidden } = source;
  const told = fates.map(({ key, fate, text }) => ({
    key: hidden.named(key),
    fate,
    text: hidden.named(text),
  }));
  return { services, configs, secrets, fates: told };
}

function convertService(original: string, given: Mapping, index: number, job: Job): Mapping {
  const { compose, folder, env, hidden } = job;
  const name = cleaned(original);
  const at = `services.${original}`;
  const say: Say = (key, fate, text) => job.say(`${at}.${key}`, fate, text);
  const drop = (key: string, why: string) => say(key, "left out", why);
  if (name !== original) job.say(at, "changed", `is called ${name}`);
  const service: Record<string, unknown> = { name };
  const keep = (key: string, to: string, value: unknown) => {
    service[to] = value;
    say(key, key === to ? "kept" : "changed", to);
  };
  const argv = (value: unknown): string[] => {
    if (typeof value !== "string") return list(value).map(String);
    const whole = words(hidden.reveal(value));
    const marked = words(value);
    // Compose splits what a variable holds as well. Which of these words hold its secret is then unknown.
    return marked.map((word) => hidden.reveal(word)).join("\0") === whole.join("\0")
      ? marked
      : whole.map((word) => hidden.of("SECRET", word));
  };
  /** The words of a command, with those that hold a secret encrypted. */
  const encrypted = (key: string, to: string, found: readonly string[]) => {
    const isHidden = secretWords(found, hidden);
    return found.map((word, at) => {
      if (isHidden[at] !== true) return word;
      job.secrets.set(`services[${index}].${to}[${at}]`, hidden.reveal(word));
      say(key, "kept", `${to}[${at}], encrypted`);
      return placeholder;
    });
  };
  for (const [key, value] of Object.entries(given)) {
    const text = typeof value === "string" ? value : "";
    if (value === null) drop(key, "has no value");
    else if (key === "build") {
      const build: Mapping = typeof value === "string" ? { context: value } : (value as Mapping);
      const known = ["context", "dockerfile", "args", "target"];
      const kept = Object.fromEntries(known.filter((each) => build[each] !== undefined).map((each) => [each, build[each]])); // prettier-ignore
      const context = moved(textOf(build["context"]) || ".", folder);
      const args = Object.entries(pairs(build["args"], env, (name) => drop(`build.args.${name}`, notSet)));
      service["build"] = {
        ...kept,
        context,
        ...(build["args"] !== undefined && {
          args: Object.fromEntries(args.filter((each) => !hidden.isVariable(each))),
        }),
      };
      for (const [variable] of args.filter((each) => hidden.isVariable(each)))
        drop(`build.args.${variable}`, `${shown}, as the image does: name a secret in build.secrets; ${own}`);
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
    } else if (key === "command") keep(key, key, encrypted(key, key, argv(value)));
    else if (key === "entrypoint") {
      if (secretWords(argv(value), hidden).includes(true)) drop(key, `${shown}: ${inEnv}`);
      else keep(key, key, argv(value));
    } else if (
      key === "environment" ||
      key === "env_file" ||
      key === "networks" ||
      key === "container_name" ||
      key === "links"
    )
      continue; // prettier-ignore
    else if (key === "depends_on") addDependencies(service, value, job, say);
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
      else keep(key, "restart_policy", restartPolicy(text));
    } else if (key === "secrets" || key === "configs") keep(key, key, list(value));
    else if (key === "volumes") {
      const kept = list(value).flatMap((each) =>
        volumeOf(each, name, compose, folder, own, (why) => drop(key, why)),
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
          command: encrypted("healthcheck.test", "healthCheck.command", kind === "CMD" ? rest : ["sh", "-c", rest.join(" ")]), // prettier-ignore
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
  addVariables(service, given, index, job, say);
  addPorts(service, given, job.root, say);
  addNetworks(service, original, given, job, say);
  return service;
}

/** That of `no`, `on-failure` or `on-failure:5`. */
function restartPolicy(text: string): Mapping {
  const [condition, attempts] = text.split(":");
  if (condition === "no") return { condition: "none" };
  return { condition: "on-failure", ...(attempts !== undefined && { max_attempts: Number(attempts) }) };
}

/** `environment`, over the variables of `env_file`. */
function addVariables(
  service: Record<string, unknown>,
  given: Mapping,
  index: number,
  job: Job,
  say: Say,
): void {
  const variables: Record<string, string> = {};
  for (const each of list(given["env_file"])) {
    const { path: named, format }: Mapping = isMapping(each) ? each : { path: each };
    const file = textOf(named);
    const text = textIn(file, job);
    const drop = (why: string) => say("env_file", "left out", why);
    if (text === undefined) drop(`${file} does not exist: write its variables into env`);
    else if (text === notText) drop(`${file} is not text in UTF-8: write its variables into env`);
    else {
      Object.assign(
        variables,
        readVariables(text, job, (line) => drop(`${file}: ${noVariable(line)}`)),
      );
      say("env_file", "changed", `env: the variables of ${file} as they are now`);
      if (format !== undefined) drop(`format of ${file}: compare its quotes and dollars with env`);
    }
  }
  const secretName = "holds a secret under a name that no variable can have: rename it";
  const drop = (name: string) =>
    say(`environment.${name}`, "left out", job.hidden.isIn(name) ? secretName : notSet);
  Object.assign(variables, pairs(given["environment"], job.env, drop));
  const { hidden } = job;
  const entries = Object.entries(variables);
  if (entries.length === 0) return;
  service["env"] = Object.fromEntries(entries.filter((each) => !hidden.isVariable(each)));
  if (given["environment"] !== undefined) say("environment", "changed", "env");
  for (const [variable, value] of entries.filter((each) => hidden.isVariable(each))) {
    if (isName.test(variable)) {
      job.secrets.set(`services[${index}].env${step(variable)}`, hidden.reveal(value));
      say(`environment.${variable}`, "kept", "env, encrypted");
    } else say(`environment.${variable}`, "left out", secretName);
  }
}

function addDependencies(service: Record<string, unknown>, value: unknown, job: Job, say: Say): void {
  const conditions: Mapping = isMapping(value)
    ? value
    : Object.fromEntries(list(value).map((each) => [textOf(each), {}]));
  const runsToItsEnd = (options: unknown) => isMapping(options) && options["condition"] === "service_completed_successfully"; // prettier-ignore
  const needed = Object.entries(conditions).filter(([other, options]) => {
    if (!Object.hasOwn(job.services, other)) {
      say(`depends_on.${other}`, "left out", "is no service of the file");
      return false;
    }
    if (runsToItsEnd(options)) {
      const text = `here, every service keeps running: write the command of ${other} as before of ${textOf(service["name"])}, and remove ${other}`;
      say(`depends_on.${other}`, "left out", text);
      return false;
    }
    return true;
  });
  if (needed.length === 0) return;
  service["depends_on"] = needed.map(([other]) => cleaned(other));
  say("depends_on", "kept", "depends_on; up waits until they are healthy");
}
