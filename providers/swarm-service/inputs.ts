/** The inputs of a Swarm service, and their validation. Pure. */
import { holdLabel, isJob as hasSchedule, runLabel, scheduleLabels } from "../../routing/jobs/docker";
import { CONTAINER_KEYS, type ContainerInputs } from "./container";

export interface PortInputs {
  /** The port inside the container. */
  readonly target: number;
  /** Default: tcp. */
  readonly protocol?: "tcp" | "udp";
  /** The port on the node. Default: 0, a free port for each instance, so that two versions can run side by side. */
  readonly published?: number;
}

export interface HealthCheckInputs {
  /** As in Docker: `["CMD", …]`, `["CMD-SHELL", "…"]` or `["NONE"]`. Default: the image's own check. */
  readonly test?: readonly string[];
  readonly intervalSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly retries?: number;
  readonly startPeriodSeconds?: number;
  /** The interval until the first success. Engines before API 1.44 ignore it. */
  readonly startIntervalSeconds?: number;
}

/** Bounds in which something else, the autoscaler, chooses a limit. There is none before it has. */
export interface LimitRangeInputs {
  readonly min: number;
  readonly max: number;
}

export interface LimitInputs {
  readonly cpus?: number | LimitRangeInputs;
  readonly memoryBytes?: number | LimitRangeInputs;
}

export interface UpdateInputs {
  /** Default: start-first, so that a change never lowers the number of instances. */
  readonly order?: "start-first" | "stop-first";
  /** Default: 1. */
  readonly parallelism?: number;
  /** Default: rollback, so that a failed change leaves the service as it was. */
  readonly failureAction?: "rollback" | "pause" | "continue";
  /** How long to watch a new instance for failure. Default: 5. */
  readonly monitorSeconds?: number;
  /** The pause between instances. Default: 0. */
  readonly delaySeconds?: number;
}

export interface RestartInputs {
  /** Default: any. */
  readonly condition?: "any" | "on-failure" | "none";
  /** Default: 1. */
  readonly delaySeconds?: number;
  /** Default: 0, which means no limit. */
  readonly maxAttempts?: number;
  readonly windowSeconds?: number;
}

export interface LoggingInputs {
  readonly driver: string;
  readonly options?: Readonly<Record<string, string>>;
}

/** A network across the nodes, on which the instances are known by the service's name. */
export interface NetworkInputs {
  readonly id: string;
  /** Further names. Default: none. */
  readonly aliases?: readonly string[];
}

/** A range in which something else, the autoscaler, chooses the number of instances. */
export interface ReplicaRangeInputs {
  /** From 0, with which a service may be asleep. */
  readonly min: number;
  readonly max: number;
}

/** The inputs that define a service. */
export interface ServiceInputs extends ContainerInputs {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels of the service itself. Their names start with `switchyard.`, and all others belong to somebody else. */
  readonly serviceLabels?: Readonly<Record<string, string>>;
  readonly replicas?: number | ReplicaRangeInputs;
  readonly ports?: readonly PortInputs[];
  /** Default: only Docker's default bridge. */
  readonly networks?: readonly NetworkInputs[];
  readonly healthCheck?: HealthCheckInputs;
  readonly limits?: LimitInputs;
  readonly dns?: readonly string[];
  /** Entries for the containers' /etc/hosts: addresses by name. */
  readonly hosts?: Readonly<Record<string, string>>;
  readonly stopGracePeriodSeconds?: number;
  readonly constraints?: readonly string[];
  /** Node labels over whose values to spread the instances, such as `node.labels.zone`. */
  readonly spread?: readonly string[];
  /** Default: 0, which means no limit. */
  readonly maxReplicasPerNode?: number;
  /** One instance on every node instead of a number of them. Changing it replaces the service. Default: false. */
  readonly global?: boolean;
  /** Docker's log driver. Default: the engine's. */
  readonly logging?: LoggingInputs;
  readonly updateConfig?: UpdateInputs;
  readonly restartPolicy?: RestartInputs;
  /** Of a service that was found: settings that no input makes, so that somebody has made them by hand. */
  readonly unmanaged?: Readonly<Record<string, unknown>>;
}

/** The inputs, in the order in which changes are reported. */
export const INPUT_KEYS = [
  "name",
  "image",
  "command",
  "args",
  "env",
  "labels",
  "serviceLabels",
  "replicas",
  "ports",
  "networks",
  "healthCheck",
  "limits",
  "dns",
  "hosts",
  "stopGracePeriodSeconds",
  "constraints",
  "spread",
  "maxReplicasPerNode",
  "global",
  "logging",
  ...CONTAINER_KEYS,
  "updateConfig",
  "restartPolicy",
  "unmanaged",
] as const satisfies readonly (keyof ServiceInputs)[];

export type InputKey = (typeof INPUT_KEYS)[number];

const LABEL_PREFIX = "switchyard.";
/** Labels that say whose the service is, which are no input. */
const MARKS: readonly string[] = ["owner", "claim"].map((mark) => LABEL_PREFIX + mark);

/** Labels with the limits that the autoscaler has chosen. */
export const LIMIT_LABELS = {
  cpus: `${LABEL_PREFIX}limits.cpus`,
  memoryBytes: `${LABEL_PREFIX}limits.memory`,
} as const;

const NOT_OWN: readonly string[] = [...MARKS, ...Object.values(LIMIT_LABELS), runLabel, holdLabel];

/** Whether a service is a job: it has a schedule, and something else, the autoscaler, starts its runs. */
export const isJob = ({ serviceLabels = {} }: Pick<ServiceInputs, "serviceLabels">): boolean =>
  hasSchedule(serviceLabels);

/** The name of the Swarm service that runs `before`. */
export const beforeName = (name: string): string => `${name}-before`;

/** Whether a service's label is one of `serviceLabels`. */
export const isOwnLabel = (key: string): boolean => key.startsWith(LABEL_PREFIX) && !NOT_OWN.includes(key);

/** How long a run of a job may take: an hour, unless its label says otherwise. */
export function deadlineMsOf(labels: Readonly<Record<string, string>> = {}): number {
  const [, count = "1", unit = "h"] =
    /^([0-9]{1,9})([smh])$/.exec(labels[scheduleLabels.deadline] ?? "") ?? [];
  return Number(count) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as "s" | "m" | "h"];
}

const NAME = /^[a-zA-Z0-9](?:[-_.]?[a-zA-Z0-9]+)*$/;

/** The mistakes in the inputs, with how to fix each. Values that are not known yet are accepted. */
export function problemsIn(inputs: Partial<ServiceInputs>): { property: string; reason: string }[] {
  const found: { property: string; reason: string }[] = [];
  const report = (property: string, reason: string) => void found.push({ property, reason });
  const { name, image, replicas, ports, env, labels, serviceLabels, limits } = inputs;
  if (typeof name !== "string" || name.length > 63 || !NAME.test(name)) {
    report(
      "name",
      `"${String(name)}" is not a valid name for a Swarm service: use letters and digits, separated by single "-", "_" or ` +
        `".", at most 63 characters (no "/": write hello-v1 for hello/v1)`,
    );
  }
  if (typeof image !== "string" || image === "") report("image", "is missing: name the image to run");
  const isCount = (count: number) => Number.isInteger(count) && count >= 0;
  if (typeof replicas === "number" && !isCount(replicas))
    report("replicas", `${replicas} is not a valid number of instances: use 0, 1, 2 …`);
  if (typeof replicas === "object") {
    const { min, max } = replicas;
    if (!isCount(min) || !isCount(max) || max < 1 || min > max)
      report("replicas", `${min} to ${max} is not a valid range: use whole numbers, such as 1 to 5`);
  }
  for (const key of typeof serviceLabels === "object" ? Object.keys(serviceLabels) : [])
    if (!isOwnLabel(key)) report("serviceLabels", `"${key}" is not ours: start it with ${LABEL_PREFIX}`);
  for (const port of Array.isArray(ports) ? ports : []) {
    const { target, published = 0 } = port as PortInputs;
    const isWrong = [target, published].some(
      (number) => typeof number === "number" && !(number >= 0 && number < 65536),
    );
    if (isWrong || target === 0)
      report("ports", `${target}, ${published} is not valid: use a port from 1 to 65535`);
  }
  for (const [property, entries] of Object.entries({ env, labels })) {
    for (const key of typeof entries === "object" ? Object.keys(entries) : []) {
      if (key === "" || key.includes("="))
        report(property, `"${key}" is not a valid name: use one that is not empty and contains no "="`);
    }
  }
  for (const property of ["command", "args", "dns", "constraints"] as const) {
    // Values from YAML may be numbers despite their types.
    const items: readonly unknown[] = Array.isArray(inputs[property]) ? inputs[property] : [];
    for (const item of items.filter((other) => typeof other !== "string")) {
      report(property, `${JSON.stringify(item)} is not a string: write it in quotes`);
    }
  }
  // Docker has the same minimum, but only reports it when the container starts.
  const limit = typeof limits === "object" ? limits.memoryBytes : undefined;
  const memory = typeof limit === "object" ? limit.min : limit;
  if (typeof memory === "number" && memory > 0 && memory < 6 * 1024 * 1024) {
    report("limits", `${memory} bytes of memory is too little: Docker requires at least 6 MiB`);
  }
  return found;
}
