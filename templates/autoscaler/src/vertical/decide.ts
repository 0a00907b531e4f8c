/** One decision about a limit. Pure. */
import type { LimitStatus } from "../../../../routing/scaling/limits-status";
import { floors, sizeUnits, type AutoLimit, type LimitKind } from "../../../../routing/scaling/resources";
import {
  changeOf,
  recommendCores,
  recommendMemory,
  type LimitChange,
  type Recommendation,
} from "./recommend";
import type { Usage } from "./usage";

/** What is known of the instances of a service, for both of its limits. */
export interface Need {
  readonly usage: Usage;
  /** The most memory that an instance uses; undefined unless the use of all that run is known. */
  readonly usedBytes: number | undefined;
  /** The limit that an instance has run into in the last minute. */
  readonly outOfMemoryBytes: number | undefined;
  /** The time in milliseconds since 1970. */
  readonly atMs: number;
  /** The time by a clock that never goes back. */
  readonly nowMs: number;
}

/** One of its limits as it is. */
export interface Limit {
  readonly current: number | undefined;
  /** The bounds of an automatic one; undefined if it is not. */
  readonly bounds: AutoLimit | undefined;
  /** When it was last changed, or first seen, by the clock of {@link Need.nowMs}. */
  readonly changedMs: number;
}

export interface LimitDecision {
  readonly status: LimitStatus;
  readonly change?: LimitChange;
  /** Why a change that is due is not made. */
  readonly problem?: string;
}

const anything: Readonly<Record<LimitKind, AutoLimit>> = {
  memory: { min: floors.memoryBytes, max: Infinity },
  cpus: { min: floors.cores, max: Infinity },
};

/** Steps of limits: 1 MiB, and a hundredth of a core. */
const steps: Readonly<Record<LimitKind, number>> = { memory: sizeUnits.m, cpus: 0.01 };

/** Undefined without history. */
export function decideLimit(kind: LimitKind, limit: Limit, need: Need): LimitDecision | undefined {
  const { current, bounds } = limit;
  const { usage, usedBytes = 0, atMs } = need;
  const within = bounds ?? anything[kind];
  const recommendation =
    kind === "memory" ? recommendMemory(usage, within, usedBytes, atMs) : recommendCores(usage, within, atMs);
  if (recommendation === undefined) return undefined;
  const { target, lower, upper } = recommendation;
  const shown = (value: number): number => roundUp(kind, value);
  return {
    status: {
      ...(current !== undefined && { current }),
      target: shown(target),
      lower: shown(lower),
      upper: shown(upper),
      auto: bounds !== undefined,
    },
    ...(bounds !== undefined && decideWithin(kind, { ...limit, bounds }, need, recommendation)),
  };
}

function decideWithin(
  kind: LimitKind,
  { current, bounds, changedMs }: Limit & { readonly bounds: AutoLimit },
  { usedBytes, outOfMemoryBytes = 0, nowMs }: Need,
  recommendation: Recommendation,
): { readonly change?: LimitChange; readonly problem?: string } {
  const { target, lower, confidenceDays } = recommendation;
  const to = Math.min(bounds.max, roundUp(kind, target));
  const ranOut = kind === "memory" && current !== undefined && outOfMemoryBytes >= current;
  const due = ranOut
    ? { from: current, to: target, why: "out of memory" as const }
    : changeOf(current, recommendation, changedMs, nowMs);
  if (due === undefined) return {};
  const grows = current !== undefined && to > current;
  if (grows && (ranOut || usedBytes !== undefined)) return { change: { ...due, to } };
  if (lower > bounds.max || ranOut) return { problem: `instances need more than max allows` };
  if (to === current) return {};
  // Less memory than an instance will need ends it, and the peak of a day is known after a day.
  if (confidenceDays < 1) return { problem: "waits for a day of history" };
  if (usedBytes === undefined) return { problem: "waits for figures of all instances" };
  return { change: { ...due, to } };
}

function roundUp(kind: LimitKind, value: number): number {
  const rounded = Math.ceil(value / steps[kind] - 1e-9) * steps[kind];
  return kind === "cpus" ? Number(rounded.toFixed(2)) : rounded;
}
