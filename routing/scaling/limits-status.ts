/** The part of the autoscaler's status about limits of memory and processor. */
import { isMapping } from "../../lib/values";
import { parseServiceName } from "../grammar";
import { showLimit, type LimitKind } from "./resources";

/** A limit of each instance, in bytes or cores. */
export interface LimitStatus {
  /** What it is now; undefined if there is none. */
  readonly current?: number;
  /** What is recommended. */
  readonly target: number;
  /** Between these, a limit is left alone at first. */
  readonly lower: number;
  readonly upper: number;
  /** Whether the autoscaler sets it. */
  readonly auto: boolean;
}

export interface LimitsStatus {
  /** As in Consul and in URLs: `hello/v1`. */
  readonly name: string;
  /** As in `docker service ls`. */
  readonly swarmName: string;
  readonly memory?: LimitStatus;
  readonly cpus?: LimitStatus;
  /** Why automatic limits are what they are. */
  readonly reason?: string;
}

const longestText = 1_000;

/** Reads what anybody may have written; undefined with a mistake. Other fields are dropped. */
export function readLimitsStatus(value: unknown): LimitsStatus | undefined {
  if (!isMapping(value)) return undefined;
  const { name, swarmName, reason } = value;
  if (!isText(name) || !parseServiceName(name).ok || !isText(swarmName)) return undefined;
  if (reason !== undefined && !isText(reason)) return undefined;
  const [memory, cpus] = [limitOf(value["memory"]), limitOf(value["cpus"])];
  if (memory === undefined || cpus === undefined) return undefined;
  return {
    name,
    swarmName,
    ...(memory !== "none" && { memory }),
    ...(cpus !== "none" && { cpus }),
    ...(reason !== undefined && { reason }),
  };
}

function limitOf(value: unknown): LimitStatus | "none" | undefined {
  if (value === undefined) return "none";
  if (!isMapping(value)) return undefined;
  const { current, target, lower, upper, auto } = value;
  if (!isAmount(target) || !isAmount(lower) || !isAmount(upper) || typeof auto !== "boolean")
    return undefined;
  if (current !== undefined && !isAmount(current)) return undefined;
  return { ...(current !== undefined && { current }), target, lower, upper, auto };
}

/** `memory 128 MiB, recommended 96 MiB (80 MiB to 140 MiB)`, and the same of processors. */
export const describeLimits = ({ memory, cpus }: LimitsStatus): string[] => [
  ...(memory === undefined ? [] : [describe("memory", memory)]),
  ...(cpus === undefined ? [] : [describe("cpus", cpus)]),
];

function describe(kind: LimitKind, { current, target, lower, upper, auto }: LimitStatus): string {
  const shown = (value: number): string => showLimit(kind, value);
  const now = current === undefined ? "without a limit" : shown(current);
  return `${kind}${auto ? " auto," : ""} ${now}, recommended ${shown(target)} (${shown(lower)} to ${shown(upper)})`;
}

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= longestText;

const isAmount = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
