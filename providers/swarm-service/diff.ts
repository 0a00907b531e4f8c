/** Compares two definitions of a service, and computes the definition to send to the engine. Pure. */
import { canonical, isMapping } from "../../lib/values";
import { ordered } from "./container";
import { INPUT_KEYS, isJob, isOwnLabel, LIMIT_LABELS, type InputKey, type ServiceInputs } from "./inputs";
import {
  buildSpec,
  inputsOf,
  inNameOrder,
  inPortOrder,
  limitsFit,
  pairs,
  replicasNear,
  type ServiceSpec,
  type TaskSpec,
} from "./spec";

/** A text that is equal for equivalent values: absent, empty, false and zero values are all the same. */
export function meaningOf(value: unknown): string {
  return canonical(simplify(value));
}

function simplify(value: unknown): unknown {
  if (value === null || value === undefined || value === 0 || value === "" || value === false)
    return undefined;
  if (Array.isArray(value))
    return value.length === 0 ? undefined : value.map((item) => simplify(item) ?? null);
  if (!isMapping(value)) return value;
  const entries = Object.entries(value)
    .map(([key, item]): [string, unknown] => [key, simplify(item)])
    .filter(([, item]) => item !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** An input in comparable form: with defaults, and sorted unless its order matters. */
function comparable(key: InputKey, value: unknown): string {
  if (key === "env" || key === "labels" || key === "serviceLabels") {
    return typeof value === "string" ? value : meaningOf(pairs(value as ServiceInputs["env"]));
  }
  if (key === "constraints" && Array.isArray(value)) return meaningOf([...(value as string[])].sort());
  if (key === "replicas") return meaningOf(value ?? 1);
  if (key === "stopGracePeriodSeconds") return meaningOf(value ?? 10);
  if (typeof value === "string") return meaningOf(value);
  const given: object = value ?? {};
  if (key === "ports")
    return meaningOf(
      inPortOrder(value as ServiceInputs["ports"]).map((port) => ({ protocol: "tcp", ...port })),
    );
  if (key === "networks") return meaningOf(inNameOrder(value as ServiceInputs["networks"]));
  if (key === "restartPolicy") return meaningOf({ condition: "any", delaySeconds: 1, ...given });
  if (key === "updateConfig") {
    const defaults = { order: "start-first", parallelism: 1, failureAction: "rollback", monitorSeconds: 5 };
    return meaningOf({ ...defaults, ...given });
  }
  // A limit of 0 is not the same as none.
  if (key === "ulimits") return canonical(given);
  return meaningOf(ordered(key, value));
}

/**
 * The names of inputs that differ. In a preview, any value may be Pulumi's marker for an unknown value, a string, which
 * differs from every known value.
 */
export function changedInputs(olds: Partial<ServiceInputs>, news: Partial<ServiceInputs>): InputKey[] {
  return INPUT_KEYS.filter((key) => comparable(key, olds[key]) !== comparable(key, news[key]));
}

/**
 * The same for a service that runs: any number of instances in the wanted range is right, and any limit within its bounds. A
 * job has one instance since its last run, or none.
 */
export function driftedInputs(found: Partial<ServiceInputs>, wanted: ServiceInputs): InputKey[] {
  const { replicas, limits = {} } = found;
  const isRight: Partial<Record<InputKey, boolean>> = {
    replicas:
      typeof replicas === "number" &&
      (isJob(wanted) ? replicas <= 1 : replicasNear(replicas, wanted.replicas) === replicas),
    limits: limitsFit(limits, wanted.limits),
  };
  return changedInputs(found, wanted).filter((key) => isRight[key] !== true);
}

/** Whether it is the label of a limit that nobody chooses any more. */
const isOutdated = (label: string, { limits }: ServiceInputs): boolean =>
  (["cpus", "memoryBytes"] as const).some(
    (key) => label === LIMIT_LABELS[key] && typeof limits?.[key] !== "object",
  );

/** The inputs that go to a part of Docker's definition other than the task template. */
const PARTS = {
  Labels: ["serviceLabels"],
  Mode: ["replicas", "global"],
  EndpointSpec: ["ports", "networks", "unmanaged"],
  UpdateConfig: ["updateConfig", "unmanaged"],
} as const satisfies Partial<Record<keyof ServiceSpec, readonly InputKey[]>>;

/** Those that go to the task template, too. */
const alsoInTemplate: readonly InputKey[] = ["networks", "unmanaged"];

/** The same definition for new instances of it. */
export const replaced = <T extends { readonly TaskTemplate: { readonly ForceUpdate?: number } }>(
  spec: T,
): T => ({
  ...spec,
  TaskTemplate: { ...spec.TaskTemplate, ForceUpdate: (spec.TaskTemplate.ForceUpdate ?? 0) + 1 },
});

/**
 * The definition that turns the current service into the wanted one. Parts that are equivalent stay exactly as the engine
 * has them, so that Swarm sees no difference: if only their number changes, instances keep running.
 */
export function nextSpec(
  current: ServiceSpec,
  inputs: ServiceInputs,
  marks: Readonly<Record<string, string>>,
): ServiceSpec {
  const theirs = Object.entries(current.Labels ?? {}).filter(
    ([key]) => !isOwnLabel(key) && !isOutdated(key, inputs),
  );
  const wanted = buildSpec(inputs, { ...Object.fromEntries(theirs), ...marks });
  const found = inputsOf(current);
  const changed = driftedInputs(found, inputs);
  // With 0 instances, only a service that is scaled is asleep.
  const isScaled = Object.keys(found.serviceLabels).some((label) => label.startsWith("switchyard.replicas."));
  const replicas = replicasNear(isScaled ? found.replicas : Math.max(1, found.replicas), inputs.replicas);
  const elsewhere: readonly InputKey[] = Object.values(PARTS)
    .flat()
    .filter((key) => !alsoInTemplate.includes(key));
  const rolls = !changed.every((key) => elsewhere.includes(key));
  const same = (part: keyof typeof PARTS) => !PARTS[part].some((key) => changed.includes(key));
  const { UpdateConfig, RollbackConfig } = same("UpdateConfig") ? current : wanted;
  const modeOf = (): ServiceSpec["Mode"] => {
    // An instance of what has changed would be a run.
    if (isJob(inputs)) return rolls || changed.includes("replicas") ? wanted.Mode : current.Mode;
    return replicas === found.replicas || found.global
      ? current.Mode
      : { Replicated: { Replicas: replicas } };
  };
  return {
    ...current,
    Name: wanted.Name,
    ...(wanted.Labels === undefined ? {} : { Labels: wanted.Labels }),
    TaskTemplate: rolls ? numbered(wanted.TaskTemplate, current, inputs) : current.TaskTemplate,
    Mode: modeOf(),
    EndpointSpec: (same("EndpointSpec") ? current : wanted).EndpointSpec ?? {},
    ...(UpdateConfig === undefined ? {} : { UpdateConfig }),
    ...(RollbackConfig === undefined ? {} : { RollbackConfig }),
  };
}

/** A job's runs are numbered on, so that none has the number of an earlier one. */
const numbered = (
  template: TaskSpec,
  { TaskTemplate: { ForceUpdate } }: ServiceSpec,
  inputs: ServiceInputs,
): TaskSpec => (isJob(inputs) && ForceUpdate !== undefined ? { ...template, ForceUpdate } : template);
