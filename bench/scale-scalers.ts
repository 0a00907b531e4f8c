/** What the contenders of `script/bench scale` have in common, and our own core as one of them. */
import { decide } from "../templates/autoscaler/src/horizontal/decide";
import { defaultRules, tickMs, type HorizontalRules } from "../templates/autoscaler/src/horizontal/rules";
import type { ServiceState } from "../templates/autoscaler/src/horizontal/types";
import { target } from "./scale-traces";

/** What every contender gets to see, every 2 s. */
export interface Seen {
  readonly second: number;
  /** Instances that have been asked for. */
  readonly replicas: number;
  /** Instances that take requests. */
  readonly ready: number;
  /** Concurrent requests, by the load balancer's last figures. */
  readonly concurrent: number;
}

export interface Scaler {
  /** Seconds between decisions. */
  readonly period: number;
  /** Called every 2 s with new figures. */
  observe?(seen: Seen): void;
  /** Called every `period`. Returns the number of instances to have. */
  decide(seen: Seen): number;
}

/** The most instances that a contender may have. */
export const most = 1000;

/** Our own core. */
export function switchyard(rules: HorizontalRules = defaultRules): Scaler {
  let state: ServiceState | undefined;
  const range = { min: 1, max: most, targets: { concurrent: target } };
  return {
    period: tickMs / 1000,
    decide: ({ second, replicas, ready, concurrent }) => {
      const observation = {
        nowMs: second * 1000,
        replicas,
        ready,
        waiting: 0,
        silent: [],
        processors: [],
        wanted: false,
      };
      const result = decide(
        state,
        { ...observation, load: { concurrent, rate: 0, errors: 0 } },
        range,
        rules,
      );
      state = result.state;
      return result.decision.to;
    },
  };
}
