/** Two published sets of rules, as references for `script/bench scale`. Written from their documentation and behaviour. */
import { most, type Scaler } from "./scale-scalers";
import { target } from "./scale-traces";

/** Knative's default. Kubernetes has no such setting: its user would set a lower target. */
const utilisation = 0.7;

export interface HpaOptions {
  /** The share of the target that it aims for. Default: as the others, 0.7, since Kubernetes has no such setting. */
  readonly utilisation?: number;
  /** Seconds over which its metric is a mean. Default: 0, the last figures. */
  readonly meanSeconds?: number;
}

/**
 * Kubernetes' HorizontalPodAutoscaler, autoscaling/v2 with its defaults, on a metric of the load balancer (type External or
 * Object, `averageValue`):
 * - every 15 s; unchanged within a tolerance of 0.1; else ceil(metric / averageValue)
 *   (`GetExternalPerPodMetricReplicas` in pkg/controller/podautoscaler/replica_calculator.go)
 * - up without stabilisation, by at most 4 pods or 100 % in 15 s, whichever is more; down to the highest recommendation of
 *   the last 300 s, by at most 100 % in 15 s (`calculateScaleUpLimitWithScalingRules` and
 *   `stabilizeRecommendationWithBehaviors` in horizontal.go;
 *   https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#default-behavior)
 */
export function hpa(options: HpaOptions = {}): Scaler {
  const averageValue = target * (options.utilisation ?? utilisation);
  const figures: { second: number; concurrent: number }[] = [];
  const recommendations: { second: number; replicas: number }[] = [];
  const added: { second: number; count: number }[] = [];
  const removed: { second: number; count: number }[] = [];
  const sumSince = (events: readonly { second: number; count: number }[], second: number): number =>
    events.filter((event) => event.second > second).reduce((sum, { count }) => sum + count, 0);
  return {
    period: 15,
    observe: ({ second, concurrent }) => {
      figures.push({ second, concurrent });
      while (figures.length > 1 && (figures[0]?.second ?? 0) <= second - (options.meanSeconds ?? 0))
        figures.shift();
    },
    decide: ({ second, replicas }) => {
      const metric = figures.reduce((sum, { concurrent }) => sum + concurrent, 0) / figures.length;
      const ratio = metric / (averageValue * replicas);
      const desired = Math.abs(1 - ratio) > 0.1 ? Math.ceil(metric / averageValue) : replicas;
      while ((recommendations[0]?.second ?? second) <= second - 300) recommendations.shift();
      const stabilised = Math.max(desired, ...recommendations.map((each) => each.replicas));
      recommendations.push({ second, replicas: desired });
      const start = replicas - sumSince(added, second - 15) + sumSince(removed, second - 15);
      const limit = Math.max(start + 4, Math.ceil(start * 2));
      const to =
        desired > replicas ? Math.min(desired, Math.max(replicas, limit)) : Math.min(replicas, stabilised);
      const bounded = Math.min(most, Math.max(1, to));
      if (bounded > replicas) added.push({ second, count: bounded - replicas });
      if (bounded < replicas) removed.push({ second, count: replicas - bounded });
      while ((added[0]?.second ?? second) <= second - 15) added.shift();
      while ((removed[0]?.second ?? second) <= second - 15) removed.shift();
      return bounded;
    },
  };
}

export interface KpaOptions {
  /** The share of the target that it aims for. Default: 0.7. */
  readonly utilisation?: number;
}

/**
 * Knative's pod autoscaler with its defaults (`Scale` in knative/serving, pkg/autoscaler/scaling/autoscaler.go;
 * https://knative.dev/docs/serving/autoscaling/kpa-specific/): every 2 s; the mean of 60 s, and in panic that of 6 s if it is
 * higher; panic from 200 % of what is ready until 60 s after; up by at most 1000 times, down by at most half; target
 * utilisation 70 %; scale-down-delay 0. Its activator, which buffers requests, is not part of the rules.
 */
export function kpa(options: KpaOptions = {}): Scaler {
  const stableWindow = 60;
  const panicWindow = 6;
  const targetValue = target * (options.utilisation ?? utilisation);
  const figures: { second: number; concurrent: number }[] = [];
  let panicTime: number | undefined;
  let maxPanicPods = 0;
  const mean = (second: number, window: number): number => {
    const recent = figures.filter((each) => each.second > second - window);
    return recent.reduce((sum, { concurrent }) => sum + concurrent, 0) / Math.max(1, recent.length);
  };
  return {
    period: 2,
    observe: ({ second, concurrent }) => {
      figures.push({ second, concurrent });
      while ((figures[0]?.second ?? second) <= second - stableWindow) figures.shift();
    },
    decide: ({ second, ready }) => {
      const readyPods = Math.max(1, ready);
      const maxScaleUp = Math.ceil(1000 * readyPods);
      const maxScaleDown = Math.floor(readyPods / 2);
      const stable = Math.ceil(mean(second, stableWindow) / targetValue);
      const panic = Math.ceil(mean(second, panicWindow) / targetValue);
      const desiredStable = Math.min(Math.max(stable, maxScaleDown), maxScaleUp);
      const desiredPanic = Math.min(Math.max(panic, maxScaleDown), maxScaleUp);
      const isOverPanicThreshold = panic / readyPods >= 2;
      if (isOverPanicThreshold) panicTime = second;
      else if (panicTime !== undefined && panicTime + stableWindow < second) {
        panicTime = undefined;
        maxPanicPods = 0;
      }
      let desired = desiredStable;
      if (panicTime !== undefined) {
        maxPanicPods = Math.max(maxPanicPods, desired, desiredPanic);
        desired = maxPanicPods;
      }
      return Math.min(most, Math.max(1, desired));
    },
  };
}
