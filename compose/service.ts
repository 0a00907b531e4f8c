/** Turns a service of a compose file into one of a stack, key by key. Pure but for the paths that it makes relative. */
import { isMapping } from "../lib/values";
import { addBuild, addImage } from "./build";
import { addDeploy } from "./deploy";
import { Draft, own, type Job } from "./draft";
import { addVariables } from "./environment";
import { addHealthCheck } from "./health-check";
import { addNetworks, cleaned } from "./networks";
import { addPorts } from "./ports";
import { list, seconds, secretWords, textOf, type Mapping } from "./read";
import { inEnv, shown } from "./shown";
import { volumeOf } from "./volumes";

type Add = (draft: Draft, value: unknown, key: string) => unknown;

const asList: Add = (draft, value, key) => draft.keep(key, key, list(value));
const asText: Add = (draft, value, key) => draft.keep(key, key, textOf(value));
const asBoolean: Add = (draft, value, key) => draft.keep(key, key, value === "true");
/** Keys that are read together with others. */
const later: Add = () => undefined;
/** What adds each key of a service. */
const added = new Map<string, Add>(
  Object.entries({
    build: addBuild,
    cap_add: asList,
    cap_drop: asList,
    command: addCommand,
    configs: asList,
    container_name: later,
    depends_on: addDependencies,
    deploy: addDeploy,
    entrypoint: addEntrypoint,
    env_file: later,
    environment: later,
    expose: later,
    extra_hosts: (draft, value, key) =>
      draft.keep(key, key, list(value).length > 0 && isMapping(value) ? value : list(value)),
    healthcheck: addHealthCheck,
    image: addImage,
    init: asBoolean,
    links: later,
    networks: later,
    ports: later,
    read_only: asBoolean,
    restart: addRestart,
    scale: (draft, value, key) => draft.keep(key, "replicas", Number(textOf(value))),
    secrets: asList,
    stop_grace_period: (draft, value, key) =>
      draft.keep(key, "stopGracePeriodSeconds", seconds(textOf(value))),
    stop_signal: asText,
    tmpfs: asList,
    user: asText,
    volumes: addVolumes,
  } satisfies Record<string, Add>),
);

/** Why keys have no counterpart. */
const leftOut = new Map<string, string>(
  Object.entries({
    devices: "Swarm gives services no devices; start a container yourself",
    dns: "instances use Consul's DNS, which asks the node's own for other names",
    hostname: "instances have names of their own",
    labels: "routing options are keys of meta here, see docs/routing.md",
    network_mode: "services have Docker's bridge network; for the host's, start a container yourself",
    platform: "nodes run images of their own platform; with build, set build.platform",
    privileged: "Swarm has no privileged services; start a container yourself",
    profiles: "a stack file is a profile; move the service to another one if this should not run it",
    pull_policy: "nodes pull images that they do not have",
    security_opt: "Swarm has no such option; start a container yourself",
    shm_size: "mount a tmpfs at /dev/shm",
    stdin_open: "no terminal is attached to a service",
    sysctls: "set them on the nodes",
    tty: "no terminal is attached to a service",
    working_dir: "set WORKDIR in the Dockerfile, or start the command with sh -c 'cd … && …'",
  }),
);

const leaveOut: Add = (draft, _, key) =>
  draft.drop(key, leftOut.get(key) ?? `has no counterpart that this import knows; ${own}`);

/** Keys whose secrets are encrypted or left out here, and those that are left out anyway. */
export const handled = ["command", "entrypoint", "environment", "env_file", ...leftOut.keys()];

/** A service of the compose file as one of the stack file. */
export function convertService(original: string, given: Mapping, index: number, job: Job): Mapping {
  const draft = new Draft(original, given, index, job);
  for (const [key, value] of Object.entries(given)) {
    if (value === null) draft.drop(key, "has no value");
    else (added.get(key) ?? leaveOut)(draft, value, key);
  }
  addVariables(draft);
  addPorts(draft.service, given, job.root, draft.say);
  addNetworks(draft.service, original, given, job, draft.say);
  return draft.service;
}

function addCommand(draft: Draft, value: unknown, key: string): void {
  draft.keep(key, key, draft.encrypted(key, key, draft.argv(value)));
}

function addEntrypoint(draft: Draft, value: unknown, key: string): void {
  const argv = draft.argv(value);
  if (secretWords(argv, draft.job.hidden).includes(true)) draft.drop(key, `${shown}: ${inEnv}`);
  else draft.keep(key, key, argv);
}

/** `restart`, which is `no`, `on-failure` or `on-failure:5` unless it is what Docker does anyway. */
function addRestart(draft: Draft, value: unknown, key: string): void {
  const [condition, attempts] = textOf(value).split(":");
  if (condition === "always" || condition === "unless-stopped")
    draft.say(key, "kept", "is what Docker does with services");
  else if (condition === "no") draft.keep(key, "restart_policy", { condition: "none" });
  else
    draft.keep(key, "restart_policy", {
      condition: "on-failure",
      ...(attempts !== undefined && { max_attempts: Number(attempts) }),
    });
}

function addVolumes(draft: Draft, value: unknown, key: string): void {
  const { compose, folder } = draft.job;
  const kept = list(value).flatMap((each) =>
    volumeOf(each, draft.name, compose, folder, own, (why) => draft.drop(key, why)),
  );
  if (kept.length > 0) draft.keep(key, key, kept);
}

function addDependencies(draft: Draft, value: unknown, key: string): void {
  const conditions: Mapping = isMapping(value)
    ? value
    : Object.fromEntries(list(value).map((each) => [textOf(each), {}]));
  const needed: string[] = [];
  for (const [other, options] of Object.entries(conditions)) {
    const runsToItsEnd = isMapping(options) && options["condition"] === "service_completed_successfully";
    if (!Object.hasOwn(draft.job.services, other)) draft.drop(`${key}.${other}`, "is no service of the file");
    else if (runsToItsEnd)
      draft.drop(
        `${key}.${other}`,
        `here, every service keeps running: write the command of ${other} as before of ${draft.name}, and remove ${other}`,
      );
    else needed.push(cleaned(other));
  }
  if (needed.length === 0) return;
  draft.service[key] = needed;
  draft.say(key, "kept", "depends_on; up waits until they are healthy");
}
