import type { Limit, Basis } from "./reasons";
import type { Change, Peaks, Samples } from "./windows";

/** What all load balancers together have of a service. */
export interface Load {
  /** Requests at the same time: at instances, queued, and held while the service sleeps. */
  readonly concurrent: number;
  /** Requests per second. */
  readonly rate: number;
  /** Failed requests per second. */
  readonly errors: number;
}

/** The processor use of an instance. */
export interface ProcessorUse {
  /** When it started, by the clock of `nowMs`. */
  readonly startedMs: number;
  /** As a share of its limit, or of one core if it has none. Undefined while its node sends no figures. */
  readonly use: number | undefined;
}

/** What is known of a service at a tick. */
export interface Observation {
  /** The tick's time in milliseconds, by a clock that never goes back. */
  readonly nowMs: number;
  /** How many instances are asked for in the service's specification. */
  readonly replicas: number;
  /** How many take requests. */
  readonly ready: number;
  /** Tasks that no node has room for. */
  readonly waiting: number;
  readonly load: Load;
  /** Load balancers whose figures are old, by name; `load` has their last ones. */
  readonly silent: readonly string[];
  /** Every instance that runs, whether its use is known or not. */
  readonly processors: readonly ProcessorUse[];
  /** Whether a load balancer asks for a sleeping service to wake. */
  readonly wanted: boolean;
}

/** What is remembered of a service between ticks. */
export interface ServiceState {
  /** The time of the last tick. */
  readonly atMs: number;
  /** How many instances were asked for at the last tick, before its decision. */
  readonly replicas: number;
  /** How many the last decision asked for. */
  readonly decided: number;
  /** When somebody else last asked for more, or when watching began: for the length of the stable window, nothing is removed. */
  readonly askedMs: number;
  readonly samples: Samples;
  /** The highest wishes of the window for scaling down. */
  readonly wishes: Peaks;
  /** What has become of decisions, and what others have done. */
  readonly changes: readonly Change[];
  /** When panic was last called for; undefined outside of panic. */
  readonly panicMs?: number | undefined;
  /** Since when there has been no request, if there is none. */
  readonly idleSinceMs?: number | undefined;
  readonly growth?: Growth | undefined;
}

/** The last time that instances were added. */
export interface Growth {
  readonly atMs: number;
  readonly from: number;
  readonly to: number;
  /** The share of failed requests before. */
  readonly errorsBefore: number;
  /** Requests per second that did not fail, in the panic window before. */
  readonly succeededBefore: number;
  /** Since when nothing is added because errors have risen. */
  readonly heldSinceMs?: number | undefined;
}

export interface Decision {
  readonly kind: "keep" | "up" | "down" | "sleep" | "wake";
  readonly from: number;
  readonly to: number;
  /** How many instances the figures ask for, within the range but before every limit. */
  readonly wish: number;
  readonly panic: boolean;
  /** Where the wish comes from. */
  readonly basis: Basis;
  /** What kept the decision from the wish. */
  readonly limits: readonly Limit[];
}
