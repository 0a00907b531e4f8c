/** Why a decision is what it is: values, and the sentence for each. */
import { plural, some } from "../../../../lib/text";

/** What the wish comes from. */
export type Basis =
  | {
      readonly kind: "load";
      readonly signal: "concurrent" | "rate";
      /** The mean over the window that decided. */
      readonly value: number;
      readonly target: number;
      readonly utilisation: number;
      readonly wish: number;
    }
  | {
      readonly kind: "processor";
      /** The mean use of the instances that count, as a share. */
      readonly use: number;
      readonly instances: number;
      readonly target: number;
      readonly wish: number;
    }
  /** The use is close enough to the target. */
  | { readonly kind: "close"; readonly of: Basis; readonly wish: number; readonly tolerance: number }
  | { readonly kind: "idle"; readonly forMs: number }
  | { readonly kind: "asleep" }
  | { readonly kind: "wanted"; readonly concurrent: number; readonly wish: number }
  /** There are no figures yet. */
  | { readonly kind: "unknown"; readonly wish: number };

/** What kept a decision from the wish. */
export type Limit =
  | { readonly kind: "min" | "max"; readonly bound: number }
  | {
      readonly kind: "pace up" | "pace down";
      readonly most: number;
      readonly perMs: number;
      readonly to: number;
    }
  | { readonly kind: "earlier wish"; readonly wish: number; readonly windowMs: number }
  | { readonly kind: "panic"; readonly leftMs: number }
  /** How the instances that somebody else asked for are used is not known yet. */
  | { readonly kind: "asked"; readonly replicas: number; readonly leftMs: number }
  | { readonly kind: "silent"; readonly balancers: readonly string[] }
  /** Instances whose node sends no figures. */
  | { readonly kind: "unknown use"; readonly instances: number }
  | { readonly kind: "no room"; readonly waiting: number }
  | { readonly kind: "errors"; readonly before: number; readonly now: number; readonly from: number };

const percent = (share: number): string => `${Number((share * 100).toFixed(share < 0.1 ? 1 : 0))} %`;
const number = (value: number): string => String(value >= 10 ? Math.round(value) : Number(value.toFixed(1)));
const seconds = (milliseconds: number): string => `${Math.ceil(milliseconds / 1000)} s`;

const nouns = { concurrent: "concurrent", rate: "requests/s" } as const;

/** `42 concurrent, target 21 at 70 %: 3`. */
export function basisSentence(basis: Basis): string {
  switch (basis.kind) {
    case "load": {
      const { value, signal, target, utilisation, wish } = basis;
      return `${number(value)} ${nouns[signal]}, target ${target} at ${percent(utilisation)}: ${wish}`;
    }
    case "processor": {
      const { instances, use, target, wish } = basis;
      return `${plural(instances, "instance")} at ${percent(use)} of the processor, target ${percent(target)}: ${wish}`;
    }
    case "close":
      return `${basisSentence(basis.of)}, within ${percent(basis.tolerance)} of ${basis.wish}`;
    case "idle":
      return `no request for ${seconds(basis.forMs)}: 0`;
    case "asleep":
      return "asleep: 0";
    case "wanted":
      return `woken by a request, ${number(basis.concurrent)} concurrent: ${basis.wish}`;
    case "unknown":
      return `no figures yet: ${basis.wish}`;
  }
}

export function limitSentence(limit: Limit): string {
  switch (limit.kind) {
    case "min":
      return `at least ${limit.bound}`;
    case "max":
      return `at most ${limit.bound}`;
    case "pace up":
      return `at most ${limit.most} more in ${seconds(limit.perMs)}: ${limit.to}`;
    case "pace down":
      return `at most ${limit.most} fewer in ${seconds(limit.perMs)}: ${limit.to}`;
    case "earlier wish":
      return `${limit.wish} were needed in the last ${seconds(limit.windowMs)}`;
    case "panic":
      return `none fewer for ${seconds(limit.leftMs)} after a burst`;
    case "asked":
      return `none fewer for ${seconds(limit.leftMs)}, until the load with ${limit.replicas} is known`;
    case "silent":
      return `none fewer while ${some(limit.balancers)} ${limit.balancers.length === 1 ? "sends" : "send"} no figures`;
    case "unknown use":
      return `none fewer while the use of ${plural(limit.instances, "instance")} is not known`;
    case "no room":
      return `none more while ${plural(limit.waiting, "task")} ${limit.waiting === 1 ? "waits" : "wait"} for room`;
    case "errors":
      return `none more while errors have risen from ${percent(limit.before)} to ${percent(limit.now)} since there were ${limit.from}`;
  }
}

/** The whole reason in one sentence: where the wish comes from, then what limits it. */
export const reasonSentence = (reason: {
  readonly basis: Basis;
  readonly limits: readonly Limit[];
}): string => [basisSentence(reason.basis), ...reason.limits.map(limitSentence)].join("; ");
