/** How many instances a service has: a number, or a range in which the autoscaler chooses. */
import { isMapping } from "../../lib/values";
import { parseDuration, writeDuration } from "../grammar";
import { good, isShown, numberIn, unknownIn, wrong, type Checked } from "./checked";

/** What one instance is meant to handle. At least one is set; the one that asks for most instances decides. */
export interface Targets {
  /** Requests at the same time. */
  readonly concurrent?: number;
  /** Requests per second. */
  readonly rate?: number;
  /** Processor use as a share of the instance's limit, or of one core if it has none: from 0.01 to 1. */
  readonly processor?: number;
}

export interface ReplicaRange {
  /** From 0, which allows the service to sleep, to `max`. */
  readonly min: number;
  readonly max: number;
  readonly targets: Targets;
  /** Milliseconds without any request after which the service goes to sleep. Set if `min` is 0, and only then. */
  readonly idleMs?: number;
}

/** Swarm takes more, but no stack here has room for them. */
export const mostReplicas = 1000;

const mostRequests = 1_000_000;

/** The keys of a range, as they are written in the stack file. */
export const rangeKeys = ["min", "max", "target", "rate", "cpu", "idle"] as const;

/** A range with the keys and values of the stack file. */
export function writeRange({ min, max, targets, idleMs }: ReplicaRange): Record<string, string | number> {
  const { concurrent, rate, processor } = targets;
  return {
    min,
    max,
    ...(concurrent !== undefined && { target: concurrent }),
    ...(rate !== undefined && { rate }),
    ...(processor !== undefined && { cpu: `${Math.round(processor * 100)}%` }),
    ...(idleMs !== undefined && { idle: writeDuration(idleMs) }),
  };
}

/** `1 to 5 (target 30)`. */
export function describeRange(range: ReplicaRange): string {
  const { min, max, ...others } = writeRange(range);
  const rest = Object.entries(others).map(([key, value]) => `${key} ${value}`);
  return `${min} to ${max} (${rest.join(", ")})`;
}

/** The range without sleep, for a stack in which nothing wakes a service. */
export function withoutSleep({ min, max, targets }: ReplicaRange): ReplicaRange {
  return { min: Math.max(1, min), max, targets };
}

const example = "{ min: 2, max: 20, target: 30 }";

/**
 * Reads `replicas` of a service: a number, or a mapping such as `{ min: 2, max: 20, target: 30 }`. In a range, `min` is 1 by
 * default; `target` (concurrent requests), `rate` (requests per second) or `cpu` (`70%`) say what an instance is meant to
 * handle; `idle` (`5m`) belongs to `min: 0`.
 */
export function readReplicas(value: unknown): Checked<number | ReplicaRange> {
  if (isMapping(value)) return readRange(value);
  const count = numberIn([], value, 0, mostReplicas);
  const form = `it must be a whole number from 0 to ${mostReplicas}, or a range such as ${example}`;
  return count.ok ? count : wrong([], isShown(value), form);
}

function readRange(value: Readonly<Record<string, unknown>>): Checked<ReplicaRange> {
  const unknown = unknownIn(value, rangeKeys);
  if (unknown !== undefined) return { ok: false, mistake: unknown };
  const min = numberIn(["min"], value["min"] ?? 1, 0, mostReplicas);
  if (!min.ok) return min;
  const max = numberIn(["max"], value["max"], 1, mostReplicas);
  if (!max.ok) return max;
  if (max.value < min.value)
    return wrong(["max"], `is ${max.value}, less than min, which is ${min.value}`, "raise max, or lower min");
  const targets = readTargets(value);
  if (!targets.ok) return targets;
  const idle = readIdle(value["idle"], min.value);
  if (!idle.ok) return idle;
  return good({
    min: min.value,
    max: max.value,
    targets: targets.value,
    ...(idle.value !== undefined && { idleMs: idle.value }),
  });
}

function readTargets(value: Readonly<Record<string, unknown>>): Checked<Targets> {
  const { target, rate, cpu } = value;
  if (target === undefined && rate === undefined && cpu === undefined)
    return wrong([], "does not say what an instance handles", "set target, rate or cpu, or a number instead");
  const concurrent = target === undefined ? undefined : numberIn(["target"], target, 1, mostRequests);
  if (concurrent?.ok === false) return concurrent;
  const perSecond = rate === undefined ? undefined : numberIn(["rate"], rate, 0.1, mostRequests, true);
  if (perSecond?.ok === false) return perSecond;
  const percentage = typeof cpu === "string" ? /^([1-9][0-9]?|100)%$/.exec(cpu)?.[1] : undefined;
  if (cpu !== undefined && percentage === undefined)
    return wrong(["cpu"], isShown(cpu), "it must be a percentage from 1% to 100%, such as 70%");
  return good({
    ...(concurrent !== undefined && { concurrent: concurrent.value }),
    ...(perSecond !== undefined && { rate: perSecond.value }),
    ...(percentage !== undefined && { processor: Number(percentage) / 100 }),
  });
}

/** A shorter time would let a service sleep between two requests of one visitor. */
const shortestIdleMs = 10_000;

function readIdle(value: unknown, min: number): Checked<number | undefined> {
  if (value === undefined)
    return min > 0
      ? good(undefined)
      : wrong(
          ["idle"],
          "is missing, so the service would never sleep",
          "set it, such as 5m, or raise min to 1",
        );
  if (min > 0) return wrong(["idle"], `is set, but min is ${min}`, "set min to 0, or remove idle");
  const duration = typeof value === "string" ? parseDuration(value) : undefined;
  return duration?.ok === true && duration.value >= shortestIdleMs
    ? good(duration.value)
    : wrong(["idle"], isShown(value), "it must be a time from 10s to 24h, such as 5m");
}
