/** Whether adding instances makes errors worse, as when they overload a database that they share. */
import type { HorizontalRules } from "./rules";
import type { Growth, Observation, ServiceState } from "./types";
import { meanOf } from "./windows";

/** The share of failed requests over a window; 0 without requests. */
export function errorShare(state: ServiceState, nowMs: number, windowMs: number): number {
  const requests = meanOf(state.rate, nowMs, windowMs) ?? 0;
  const errors = meanOf(state.errors, nowMs, windowMs) ?? 0;
  return requests <= 0 ? 0 : Math.min(1, errors / requests);
}

/**
 * Judges the last growth: undefined if more instances may be added. Judged only when all that were added take requests and
 * the panic window shows nothing older, because errors are to be expected while too few instances serve.
 */
export function judgeGrowth(
  state: ServiceState,
  now: Observation,
  rules: HorizontalRules,
): { readonly growth: Growth | undefined; readonly share?: number } {
  const { growth } = state;
  if (growth === undefined) return { growth };
  const judged = now.ready >= growth.to && now.nowMs - growth.atMs >= 2 * rules.panicMs;
  if (!judged) return { growth };
  const share = errorShare(state, now.nowMs, rules.panicMs);
  const risen =
    share >= growth.errorsBefore + rules.errorRise && share >= growth.errorsBefore * rules.errorFactor;
  if (!risen) return { growth: { ...growth, heldSinceMs: undefined } };
  const heldSinceMs = growth.heldSinceMs ?? now.nowMs;
  return now.nowMs - heldSinceMs < rules.errorHoldMs
    ? { growth: { ...growth, heldSinceMs }, share }
    : { growth: undefined };
}
