/** The schema of `services`: types, defaults, messages, and each key's description in the documentation. */
import { z } from "zod";

import { good, isShown, wrong, type Checked } from "../../routing/scaling/checked";
import { signalClash } from "../../routing/scaling/labels";
import { readReplicas } from "../../routing/scaling/replicas";
import { readAutoCpus, readAutoMemory, sizeUnits, type AutoLimit } from "../../routing/scaling/resources";
import { isMapping } from "../../lib/values";
import { readSchedule } from "../../routing/jobs/schedule";
import { beforeName } from "../../providers/swarm-service/inputs";
import { imagePattern, list, mapping, mistake, oneOf, parse, positive, readBy, text, undated, verbatimStrings, whole } from "../schema"; // prettier-ignore

import { readBuild } from "./build";
import { mistakesOfDependencies } from "./dependencies";
import { backupOf, jobName, lacking, loadingName } from "./backups";
import { readReference } from "./files";
import { readNetworks } from "./networks";
import { furtherPort, meta, mistakesOfMeta, mistakesOfPorts, nameOfPort, portNumber, serviceName, type FurtherPort } from "./ports"; // prettier-ignore
import { runningKeys } from "./running";
import { isOwn, isWritten, readTmpfs, readVolume } from "./volumes";

/** The types of service: how the load balancer balances them; `none` is a worker, which it does not know. */
export const serviceTypes = ["rest", "http", "tcp", "none"] as const;
export type ServiceType = (typeof serviceTypes)[number];

const argument = undated(text(/^[^\0]{1,4096}$/, "a program or an argument; put numbers in quotes"));
const command = list(argument).check(({ value, issues }) => {
  if (value.length === 0) issues.push(mistake([], "is empty", "list the program and its arguments"));
});

/** A command whose exit code says whether the instance is healthy. */
const healthCheck = mapping({
  command: command.readonly(),
  intervalSeconds: whole(1, 3600).default(5),
  timeoutSeconds: whole(1, 3600).default(3),
  retries: whole(1, 100).default(3).describe("consecutive failures until the instance is unhealthy"),
  startPeriodSeconds: whole(0, 3600)
    .default(0)
    .describe("time after the start in which failures do not count"),
}).readonly();
export type HealthCheckConfig = z.output<typeof healthCheck>;

/** A size in Docker's notation: `64m`, `1g`. */
const bytes = text(/^[1-9][0-9]{0,6}[kmg]$/, 'a size such as "64m" or "1g"')
  .transform((size) => Number(size.slice(0, -1)) * sizeUnits[size.slice(-1) as keyof typeof sizeUnits])
  .refine((size) => size >= 6 * sizeUnits.m, 'it must be at least "6m", Docker\'s minimum');

/** A limit: a fixed one, or bounds in which the autoscaler chooses it. */
const limit = (fixed: z.ZodType<number>, readAutomatic: (value: unknown) => Checked<AutoLimit> | undefined) =>
  readBy((value): Checked<number | AutoLimit> => {
    const automatic = readAutomatic(value);
    if (automatic !== undefined) return automatic;
    const read = fixed.safeParse(value);
    const [issue] = read.error?.issues ?? [];
    return read.success ? good(read.data) : wrong([], isShown(value), `${issue?.message ?? ""}, or auto`);
  });

/** The keys of a service, as they are written in the stack file. */
export const serviceKeys = {
  name: serviceName().describe("name in Consul, and the path: `hello/v1` answers at `/hello/v1`"),
  image: text(imagePattern, 'an image reference such as "nginx:1.29"')
    .optional()
    .describe("image to run; the nodes must have it or be able to pull it; set either this or `build`"),
  build: readBy(readBuild)
    .optional()
    .describe(
      "folder to [build](#builds) the image from, such as `./web`, or a mapping of `context`, `dockerfile`, `args`, `target`, `platform` and `secrets`; a mere name is a folder of `templates/`",
    ),
  // Required. Its absence is reported by `service`, which can name the service.
  port: portNumber()
    .optional()
    .describe("port that the program in the container listens on; a worker has none"),
  type: oneOf(serviceTypes)
    .default("rest")
    .describe(
      "`rest` or `http`: routed by path; `tcp`: gets its own port on the load balancer (`tcp_port`); `none`: a [worker](#workers)",
    ),
  ports: list(furtherPort)
    .default([])
    .describe(
      "[further ports](#several-ports), each with `port`, `name` (`NAME-PORT`), `type` (`rest`) and `meta`",
    ),
  replicas: readBy(readReplicas)
    .prefault(1)
    .describe(
      "number of instances across all nodes, or a range such as `{ min: 2, max: 20, target: 30 }` for the [autoscaler](autoscaling.md)",
    ),
  entrypoint: command
    .optional()
    .describe("program to run instead of the image's own entry point, with arguments"),
  command: command
    .optional()
    .describe("command to run instead of the image's own: a list of the program and its arguments"),
  before: command
    .optional()
    .describe(
      "program, with arguments, that runs [once before](#before-a-rollout) the first start and each rollout, in the new image",
    ),
  schedule: readBy(readSchedule)
    .optional()
    .describe(
      'makes the service a [job](#jobs), which runs at these times: `"0 3 * * *"`, or `cron`, `time_zone` (`UTC`) and `deadline` (`1h`)',
    ),
  cpus: limit(positive(1024), readAutoCpus)
    .optional()
    .describe(
      "CPU limit per instance, such as `0.5`; or `auto` or bounds such as `{ min: 0.1, max: 2 }` for the [autoscaler](autoscaling.md); default: none",
    ),
  memory: limit(bytes, readAutoMemory)
    .optional()
    .describe(
      "memory limit per instance, such as `64m`; or `auto` or bounds such as `{ min: 64m, max: 1g }`; default: none",
    ),
  env: verbatimStrings(/^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/, "letters, digits, dots, dashes and underscores")
    .default({})
    .describe(
      "environment variables; put numbers, dates, `true` and `false` in quotes, so that they arrive as written",
    ),
  meta: meta().describe("[routing options](routing.md), and Registrator's `check_…` options"),
  healthCheck: z
    .union([z.literal("image"), healthCheck])
    .optional()
    .describe(
      "Docker health check: `command`, `intervalSeconds` (5), `timeoutSeconds` (3), `retries` (3) and `startPeriodSeconds` (0); or `image` if the image has its own",
    ),
  volumes: list(readBy(readVolume))
    .default([])
    .describe(
      "[volumes](#volumes), such as `data:/var/lib/app`, `./settings:/etc/app:ro` or a mapping of `type`, `source`, `target`, `read_only` and `driver_opts`",
    ),
  tmpfs: list(readBy(readTmpfs))
    .default([])
    .describe("folders in memory, such as `/run` or `/tmp:size=64m,mode=1777`"),
  secrets: list(readBy(readReference("secret")))
    .default([])
    .describe(
      "names of the stack's [secrets](#secrets-and-configs), each a file in `/run/secrets`, or mappings of `source`, `target`, `uid`, `gid` and `mode`",
    ),
  configs: list(readBy(readReference("config")))
    .default([])
    .describe("the same for the stack's [configs](#secrets-and-configs), with an absolute path as `target`"),
  networks: readBy(readNetworks)
    .prefault([])
    .describe(
      "[networks](#networks) on which services reach each other by name and port: a list of names, or a mapping such as `{ shop: { aliases: [database] } }`",
    ),
  depends_on: list(text(/^[^\p{Cc}]{1,255}$/u, "the name of a service"))
    .default([])
    .describe(
      "names of services of the stack that `up` starts, and waits for, [before this one](#start-order)",
    ),
  backup: backupOf(command)
    .optional()
    .describe(
      "[backups](backups.md#scheduled-backups) of its volumes: `schedule` (as of a job), `to` (a folder, `s3:…`, `sftp:…`), `keep` (such as `{ daily: 7 }`), and for a database `dump` and `load`",
    ),
  ...runningKeys,
  stopGracePeriodSeconds: whole(1, 3600)
    .default(10)
    .describe("seconds that a stopping instance has to finish its work before it is killed"),
};

/** SwarmKit's updater starts the next task once the old one has stopped, or after 60 s. */
const longestStopSeconds = 55;

/** What a service with volumes or files cannot have: two instances that write to the same files, two mounts in one place. */
function mistakesOfMounts({
  volumes,
  tmpfs,
  secrets,
  configs,
  replicas,
  mode,
  update,
  rebalance,
  stopGracePeriodSeconds,
}: Pick<
  z.output<typeof keys>,
  | "volumes"
  | "tmpfs"
  | "secrets"
  | "configs"
  | "replicas"
  | "mode"
  | "update"
  | "rebalance"
  | "stopGracePeriodSeconds"
>) {
  const shared = volumes.find(isWritten);
  const written = volumes.find(isOwn);
  const isOne = typeof replicas === "number" && replicas <= 1;
  const problem = `is more than 1, but volume ${written?.source ?? ""} is on one node, and two instances must not write to it`;
  const cure = "set replicas: 1, or make the volume read-only or one on a file server (driver_opts)";
  return [
    ...(written === undefined || isOne ? [] : [mistake(["replicas"], problem, cure)]),
    ...(mode === "global" && replicas !== 1
      ? [mistake(["replicas"], "is set, but the mode is global", "remove it, or set mode: replicated")]
      : []),
    ...(mode === "global" && written !== undefined
      ? [mistake(["mode"], `is global, but volume ${written.source ?? ""} is on one node`, "remove it")]
      : []),
    ...(rebalance && (written !== undefined || mode === "global")
      ? [
          mistake(
            ["rebalance"],
            `is true, but ${mode === "global" ? "every node has an instance" : `volume ${written?.source ?? ""} is on one node`}`,
            "remove it",
          ),
        ]
      : []),
    ...(update?.order === "start-first" && shared !== undefined
      ? [
          mistake(
            ["update", "order"],
            `is start-first, but two instances must not write to ${shared.source ?? ""}`,
            "remove it",
          ),
        ]
      : []),
    ...(stopGracePeriodSeconds > longestStopSeconds && shared !== undefined
      ? [
          mistake(
            ["stopGracePeriodSeconds"],
            `is ${stopGracePeriodSeconds}, but Docker waits only a minute before it starts the next instance, and two must not write to ${shared.source ?? ""}`,
            `set at most ${longestStopSeconds}`,
          ),
        ]
      : []),
    ...Object.entries({ volumes: [...volumes, ...tmpfs], secrets, configs }).flatMap(([key, mounts]) => {
      const targets = mounts.map(({ target }) => target);
      const twice = targets.find((target, index) => targets.indexOf(target) < index);
      return twice === undefined ? [] : [mistake([key], `mounts ${twice} twice`, "give each its own target")];
    }),
  ];
}

/** What a worker cannot have: nothing reaches it. */
function mistakesOfWorker({
  port,
  meta,
  replicas,
}: Pick<z.output<typeof keys>, "port" | "meta" | "replicas">) {
  const [option] = Object.keys(meta);
  return [
    ...(port === undefined
      ? []
      : [mistake(["port"], "is set, but nothing reaches a service of type none", "remove it, or set type")]),
    ...(option === undefined
      ? []
      : [mistake(["meta", option], "is set, but a service of type none is not registered", "remove it")]),
    ...(typeof replicas === "number"
      ? []
      : [mistake(["replicas"], "is a range, but a service of type none has no requests", "set a number")]),
  ];
}

/** What a job cannot have: nothing reaches it, and no rollout starts it. */
function mistakesOfJob({ schedule, type, ...rest }: z.output<typeof keys>) {
  if (schedule === undefined) return [];
  const { replicas, healthCheck, mode, update, rebalance, before, cpus, memory } = rest;
  const { restart_policy: restart } = rest;
  const wrongs: readonly [boolean, string[], string, string?][] = [
    [type !== "none", ["type"], `is ${type}, but nothing reaches a service with a schedule`],
    [replicas !== 1, ["replicas"], "is set, but a service with a schedule runs once at each of its times"],
    [healthCheck !== undefined, ["healthCheck"], "is set, but a job is judged by its exit code"],
    [mode === "global", ["mode"], "is global, but a service with a schedule runs on one node"],
    [update !== undefined, ["update"], "is set, but a service with a schedule has no rollout"],
    [before !== undefined, ["before"], "is set, but a service with a schedule has no rollout"],
    [rebalance, ["rebalance"], "is true, but a service with a schedule has no rollout"],
    [rest.backup !== undefined, ["backup"], "is set, but a job has no data of its own"],
    [typeof cpus === "object", ["cpus"], "is automatic, but a job has a fixed limit", "set a number"],
    [typeof memory === "object", ["memory"], "is automatic, but a job has a fixed limit", "set a size"],
    [
      restart?.condition === "any",
      ["restart_policy", "condition"],
      "is any, but a job that has succeeded must not start again",
      "set on-failure or none",
    ],
  ];
  return wrongs.flatMap(([isWrong, path, problem, cure = "remove it, or the schedule"]) =>
    isWrong ? [mistake(path, problem, cure)] : [],
  );
}

/** The longest name of a Swarm service. */
const longestName = 63;
/** The Swarm services that a service brings with it, the longest names first: why, their names, and what they are to a reader. */
const companions = [
  {
    key: "backup",
    nameOf: loadingName,
    is: (name: string) => `the name of the instance into which a restore of ${name} loads its dump`,
  },
  {
    key: "before",
    nameOf: beforeName,
    is: (name: string) => `the name of what ${name} runs before a rollout`,
  },
  { key: "backup", nameOf: jobName, is: (name: string) => `the name of the job that backs up ${name}` },
] as const;
const swarmNameOf = (name: string): string => name.replace(/[/.]/g, "-");

const keys = mapping(serviceKeys);
/** A job is of type none without saying so. */
const asWorker = (value: unknown): unknown =>
  isMapping(value) && value["schedule"] !== undefined && value["type"] === undefined
    ? { ...value, type: "none" }
    : value;

export const service = z
  .preprocess(asWorker, keys)
  .check(({ value, issues }) => {
    const { name, image, build, port, type, replicas, cpus } = value;
    issues.push(...mistakesOfJob(value));
    const long = companions.find(
      ({ key, nameOf }) => value[key] !== undefined && nameOf(swarmNameOf(name)).length > longestName,
    );
    if (long !== undefined) {
      const cure = `use at most ${longestName - long.nameOf("").length} characters`;
      issues.push(mistake(["name"], `is too long for a service with ${long.key}`, cure));
    }
    for (const [path, problem, cure] of lacking(value))
      issues.push(mistake(["backup", ...path], problem, cure));
    if (type === "none") issues.push(...mistakesOfWorker(value));
    else if (port === undefined) {
      const problem = `is missing, so nothing could reach ${name}`;
      issues.push(mistake(["port"], problem, "set the port that its program listens on"));
    }
    issues.push(...mistakesOfMounts(value));
    if ((image === undefined) === (build === undefined))
      issues.push(mistake([], "needs either image or build", "set one of the two"));
    if (type === "tcp" && typeof replicas === "object" && replicas.min === 0) {
      const problem = "is 0, but only requests of rest or http services wait for an instance to start";
      issues.push(mistake(["replicas", "min"], problem, "raise it to 1, and remove idle"));
    }
    const clash = signalClash({
      ...(typeof replicas === "object" && { replicas }),
      ...(typeof cpus === "object" && { cpus }),
    });
    if (clash !== undefined) issues.push(mistake(["cpus"], clash.problem, clash.cure));
    issues.push(...mistakesOfMeta(value), ...mistakesOfPorts(value));
  })
  // The default of `build` only satisfies the compiler: the check above has rejected a service without it. Port 0 is a worker's.
  .transform(({ image, build = "", port = 0, ports, cpus, memory, name, ...rest }) => ({
    ...rest,
    name,
    port,
    ports: ports.map((each): FurtherPort => ({ ...each, name: nameOfPort(name, each) })),
    /** The name of its Swarm service: `hello-v1` for `hello/v1`. */
    swarmName: swarmNameOf(name),
    source: image === undefined ? { build } : { image },
    limits:
      cpus === undefined && memory === undefined
        ? undefined
        : { ...(cpus !== undefined && { cpus }), ...(memory !== undefined && { memoryBytes: memory }) },
  }))
  .readonly();

/** A service in the configuration, with all defaults filled in. */
export type ServiceConfig = z.output<typeof service> & {
  /** Whether values of `env`, `command` and `healthCheck` may be secret. Default: false. */
  readonly hasSecrets?: boolean;
  /** The name of a volume of the node with a filtered socket. Default: none. */
  readonly socket?: string;
};

/** Whether the autoscaler is to choose a limit. */
export const hasAutomatic = (limits: ServiceConfig["limits"]): boolean =>
  Object.values(limits ?? {}).some((each) => typeof each === "object");

/** The list `services`. Names must be unique, both here and in Docker. */
export const services = list(service)
  .check(({ value, issues }) => {
    const byName = new Map<string, string>();
    for (const [index, { name, swarmName }] of value.entries()) {
      const other = byName.get(swarmName);
      if (other !== undefined) {
        const problem =
          other === name
            ? `is ${name}, a name that another service already has`
            : `is ${name}, but its name in Docker, ${swarmName}, is already taken by ${other}`;
        issues.push(mistake([index, "name"], problem, "rename one of the two"));
      }
      byName.set(swarmName, name);
    }
    const registered = value.flatMap(({ name, ports }, index) => [
      { name, path: [index, "name"] },
      ...ports.map((port, at) => ({ name: port.name, path: [index, "ports", at, "name"] })),
    ]);
    for (const { name, path } of registered.filter(({ path: { length } }) => length > 2)) {
      if (registered.filter((each) => each.name === name).length < 2) continue;
      const problem = `is ${name}, a name that another service or port already has`;
      issues.push(mistake(path, problem, "rename one of the two"));
    }
    for (const service of value)
      for (const { key, nameOf, is } of companions) {
        const index = value.findIndex(({ swarmName }) => swarmName === nameOf(service.swarmName));
        if (service[key] === undefined || index < 0) continue;
        const problem = `is ${value[index]?.name ?? ""}, which in Docker is ${is(service.name)}`;
        issues.push(mistake([index, "name"], problem, "rename one of the two"));
      }
    issues.push(...mistakesOfDependencies(value));
  })
  .readonly();

/**
 * Reads one service.
 *
 * @param key its place in the configuration, for errors: `services[0]`
 * @throws UserError that names the key and the cure
 */
export function parseService(value: unknown, key: string): ServiceConfig {
  return parse(service, value, key);
}
