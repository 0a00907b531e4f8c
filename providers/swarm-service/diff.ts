/** What differs between two definitions of a service, and what to send to the engine for it. Pure. */
import { INPUT_KEYS, type InputKey, type ServiceInputs } from "./inputs";
import { buildSpec, inputsOf, pairs, type ServiceSpec } from "./spec";

/** Text that is equal for equal values, whatever the order of their keys; what is absent, empty or zero is one. */
export function canonical(value: unknown): string {
  return JSON.stringify(simplify(value) ?? null);
}

function simplify(value: unknown): unknown {
  if (value === null || value === undefined || value === 0 || value === "") return undefined;
  if (Array.isArray(value))
    return value.length === 0 ? undefined : value.map((item) => simplify(item) ?? null);
  if (typeof value !== "object") return value;
  const entries = Object.entries(value)
    .map(([key, item]): [string, unknown] => [key, simplify(item)])
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** An input as compared: defaults filled in, order only where it means something. */
function comparable(key: InputKey, value: unknown): string {
  if (key === "env" || key === "labels") {
    return typeof value === "string" ? value : canonical(pairs(value as ServiceInputs["env"]));
  }
  if (key === "constraints" && Array.isArray(value)) return canonical([...(value as string[])].sort());
  if (key === "replicas") return canonical(value ?? 1);
  if (key === "stopGracePeriodSeconds") return canonical(value ?? 10);
  if (typeof value === "string") return canonical(value);
  const given: object = value ?? {};
  if (key === "port")
    return canonical(value === undefined || value === null ? {} : { protocol: "tcp", ...given });
  if (key === "restartPolicy") return canonical({ condition: "any", delaySeconds: 1, ...given });
  if (key === "updateConfig") {
    const defaults = { order: "start-first", parallelism: 1, failureAction: "rollback", monitorSeconds: 5 };
    return canonical({ ...defaults, ...given });
  }
  return canonical(value);
}

/**
 * The inputs that differ. Takes the values as Pulumi hands them over: a value that is not known yet in a preview is
 * a marker string in place of anything, and differs from whatever was there.
 */
export function changedKeys(olds: Partial<ServiceInputs>, news: Partial<ServiceInputs>): InputKey[] {
  return INPUT_KEYS.filter((key) => comparable(key, olds[key]) !== comparable(key, news[key]));
}

/** Which part of Docker's definition each input goes to. */
const PARTS = {
  Mode: ["replicas"],
  EndpointSpec: ["port"],
  UpdateConfig: ["updateConfig"],
} as const satisfies Partial<Record<keyof ServiceSpec, readonly InputKey[]>>;

/**
 * The definition to send so that the service that is there becomes the wanted one. Parts that mean the same stay as
 * the engine has them, byte for byte, so that Swarm sees no difference in what it need not touch: instances keep
 * running when only their number changes.
 */
export function nextSpec(
  current: ServiceSpec,
  inputs: ServiceInputs,
  marks: Readonly<Record<string, string>>,
): ServiceSpec {
  const wanted = buildSpec(inputs, { ...current.Labels, ...marks });
  const changed = changedKeys(inputsOf(current), inputs);
  const elsewhere: readonly InputKey[] = Object.values(PARTS).flat();
  const same = (part: keyof typeof PARTS) => !PARTS[part].some((key) => changed.includes(key));
  const { UpdateConfig, RollbackConfig } = same("UpdateConfig") ? current : wanted;
  return {
    ...current,
    Name: wanted.Name,
    ...(wanted.Labels === undefined ? {} : { Labels: wanted.Labels }),
    TaskTemplate: changed.every((key) => elsewhere.includes(key))
      ? current.TaskTemplate
      : wanted.TaskTemplate,
    Mode: same("Mode") ? current.Mode : wanted.Mode,
    EndpointSpec: (same("EndpointSpec") ? current : wanted).EndpointSpec ?? {},
    ...(UpdateConfig === undefined ? {} : { UpdateConfig }),
    ...(RollbackConfig === undefined ? {} : { RollbackConfig }),
  };
}
