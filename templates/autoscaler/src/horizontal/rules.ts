/** The numbers behind decisions about the number of instances. */

/** At most this many, or this share, whichever is more, within this time. */
export interface Pace {
  readonly count: number;
  readonly share: number;
  readonly perMs: number;
}

export interface HorizontalRules {
  /** The mean over this time decides. */
  readonly stableMs: number;
  /** The mean over this time decides in panic, if it asks for more. */
  readonly panicMs: number;
  /** Panic begins when its window asks for this many times the instances that are ready. */
  readonly panicFactor: number;
  /** Panic lasts, and nothing scales down, until it has not been called for over this time. */
  readonly panicHoldMs: number;
  /** Instances are meant to be used to this share of their target, so that there is room while others start. */
  readonly utilisation: number;
  /** A use that differs from the target by no more than this share changes nothing. */
  readonly tolerance: number;
  /** Outside of panic. */
  readonly up: Pace;
  readonly down: Pace;
  /** Nothing scales below the highest wish of this time, by either window. */
  readonly downWindowMs: number;
  /** The processor use of an instance counts from this age on: starting is work of its own. */
  readonly startMs: number;
  /** A load balancer without new figures for this long is silent. */
  readonly silentMs: number;
  /** When errors count as risen since instances were added: their share of the requests by at least this much… */
  readonly errorRise: number;
  /** …and by this factor… */
  readonly errorFactor: number;
  /** …while requests that succeed have not risen by this factor: if they have, the instances help and load is what fails. */
  readonly helpFactor: number;
  /** How long no further instances are added for that reason. Then it is tried again, as more may help after all. */
  readonly errorHoldMs: number;
}

/**
 * The rules in force. They are as prompt as Knative's, because an instance takes seconds to start: with the window of 300 s of
 * Kubernetes' HPA, the simulator finds them worse on every trace. bench/README.md says how they are judged. The tolerance keeps the
 * number steady under noise.
 */
export const defaultRules: HorizontalRules = {
  stableMs: 60_000,
  panicMs: 4_000,
  panicFactor: 2,
  panicHoldMs: 30_000,
  utilisation: 0.7,
  tolerance: 0.12,
  up: { count: 4, share: 1, perMs: 15_000 },
  down: { count: 1, share: 0.5, perMs: 15_000 },
  downWindowMs: 6_000,
  startMs: 30_000,
  silentMs: 10_000,
  errorRise: 0.05,
  errorFactor: 2,
  helpFactor: 1.1,
  errorHoldMs: 60_000,
};

/** How often decisions are made. */
export const tickMs = 2_000;
