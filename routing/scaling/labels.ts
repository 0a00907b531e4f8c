/**
 * How a Swarm service says that it is to be scaled: by labels of the service. Any service with these labels is scaled, whoever
 * made it: `switchyard.replicas.max=20`, `switchyard.memory=auto`, `switchyard.memory.max=1g`.
 */
import { writeDuration } from "../grammar";
import { good, wrong, type Checked } from "./checked";
import { rangeKeys, readReplicas, type ReplicaRange } from "./replicas";
import { readAutoCpus, readAutoMemory, sizeUnits, type AutoLimit } from "./resources";

/** What the autoscaler does for a service. What is undefined stays as it is. */
export interface Scaling {
  readonly replicas?: ReplicaRange;
  /** In bytes. */
  readonly memory?: AutoLimit;
  /** In cores. */
  readonly cpus?: AutoLimit;
}

export type Labels = Readonly<Record<string, string>>;

const prefix = "switchyard.";

/** Keys whose values are numbers; the others are text. */
const numeric: ReadonlySet<string> = new Set(["min", "max", "target", "rate"]);

/** As many decimal places as any number is written with: a third has 16. */
const number = /^(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,20})?$/;

/**
 * Reads the labels of a Swarm service. The path of a mistake is the label. A service without such labels is not scaled: its
 * result is empty.
 */
export function readLabels(labels: Labels): Checked<Scaling> {
  const range = groupOf(labels, "replicas", (key) => numeric.has(key));
  if (range.alone !== undefined)
    return wrong(
      [`${prefix}replicas`],
      "is not known",
      `use ${rangeKeys.map((key) => `${prefix}replicas.${key}`).join(", ")}`,
    );
  const replicas = isEmpty(range) ? undefined : named("replicas", readReplicas(range.parts));
  if (replicas?.ok === false) return replicas;
  const memory = readLimit(labels, "memory", readAutoMemory);
  if (memory?.ok === false) return memory;
  const cpus = readLimit(labels, "cpus", readAutoCpus);
  if (cpus?.ok === false) return cpus;
  const scaling: Scaling = {
    // A mapping is never read as a number.
    ...(replicas !== undefined && { replicas: replicas.value as ReplicaRange }),
    ...(memory !== undefined && { memory: memory.value }),
    ...(cpus !== undefined && { cpus: cpus.value }),
  };
  const clash = signalClash(scaling);
  return clash === undefined ? good(scaling) : wrong([`${prefix}cpus`], clash.problem, clash.cure);
}

/** Why a service cannot be scaled in both ways: they would chase each other on one signal. Undefined if it can. */
export function signalClash({ replicas, cpus }: Scaling): { problem: string; cure: string } | undefined {
  if (cpus === undefined || replicas?.targets.processor === undefined) return undefined;
  return {
    problem: "is automatic, but processor use also decides the number of instances",
    cure: "set a fixed number of cpus, or use target or rate instead of cpu",
  };
}

/** The labels that say the same, for the services of a stack. */
export function writeLabels({ replicas, memory, cpus }: Scaling): Labels {
  const { concurrent, rate, processor } = replicas?.targets ?? {};
  const entries: [string, string | undefined][] = [
    ["replicas.min", text(replicas?.min)],
    ["replicas.max", text(replicas?.max)],
    ["replicas.target", text(concurrent)],
    ["replicas.rate", text(rate)],
    ["replicas.cpu", processor === undefined ? undefined : `${Math.round(processor * 100)}%`],
    ["replicas.idle", replicas?.idleMs === undefined ? undefined : writeDuration(replicas.idleMs)],
    ["memory.min", size(memory?.min)],
    ["memory.max", size(memory?.max)],
    ["cpus.min", text(cpus?.min)],
    ["cpus.max", text(cpus?.max)],
  ];
  return Object.fromEntries(
    entries.flatMap(([key, value]) => (value === undefined ? [] : [[prefix + key, value]])),
  );
}

const text = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : String(value);

/** In the largest unit that is exact: in a smaller one, large sizes have more digits than a size may have. */
function size(bytes: number | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const unit = bytes % 1024 ** 3 === 0 ? "g" : bytes % 1024 ** 2 === 0 ? "m" : "k";
  return `${bytes / sizeUnits[unit]}${unit}`;
}

interface Group {
  /** The value of the label without a part. */
  readonly alone: string | undefined;
  readonly parts: Readonly<Record<string, string | number>>;
}

const isEmpty = ({ alone, parts }: Group): boolean => alone === undefined && Object.keys(parts).length === 0;

function groupOf(labels: Labels, name: string, isNumber: (key: string) => boolean): Group {
  const start = `${prefix}${name}.`;
  const parts = Object.entries(labels)
    .filter(([label]) => label.startsWith(start))
    .map(([label, value]): [string, string | number] => {
      const key = label.slice(start.length);
      return [key, isNumber(key) && number.test(value) ? Number(value) : value];
    });
  return { alone: labels[`${prefix}${name}`], parts: Object.fromEntries(parts) };
}

function readLimit(
  labels: Labels,
  name: "memory" | "cpus",
  read: (value: unknown) => Checked<AutoLimit> | undefined,
): Checked<AutoLimit> | undefined {
  const group = groupOf(labels, name, () => name === "cpus");
  if (isEmpty(group)) return undefined;
  if (group.alone !== undefined && group.alone !== "auto")
    return wrong([`${prefix}${name}`], `is ${JSON.stringify(group.alone)}`, "it must be auto");
  const limit = read(Object.keys(group.parts).length === 0 ? "auto" : group.parts);
  return limit === undefined ? undefined : named(name, limit);
}

/** The same, with the label as the path of a mistake. */
const named = <T>(name: string, checked: Checked<T>): Checked<T> =>
  checked.ok
    ? checked
    : {
        ok: false,
        mistake: { ...checked.mistake, path: [prefix + [name, ...checked.mistake.path].join(".")] },
      };
