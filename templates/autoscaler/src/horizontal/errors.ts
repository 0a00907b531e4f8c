/** Whether adding instances makes errors worse, as when they overload a database that they share. */
import type { HorizontalRules } from "./rules";
import type { Growth, Observation, ServiceState } from "./types";
import type { Means } from "./windows";

/** The share of failed requests over a window; 0 without requests. */
export const errorShare = ({ rate = 0, errors = 0 }: Means): number =>
  rate <= 0 ? 0 : Math.min(1, errors / rate);

/** Requests per second that did not fail. */
export const succeeded = ({ rate = 0, errors = 0 }: Means): number => Math.max(0, rate - errors);

/**
 * Judges the last growth by the means of the panic window: undefined if more instances may be added. Judged only when all
 * that were added take requests and the panic window shows nothing older, because errors are to be expected while too few
 * instances serve. Where more requests succeed than before, the instances help, whatever fails.
 */
export function judgeGrowth(
  { growth }: ServiceState,
  burst: Means,
  now: Observation,
  rules: HorizontalRules,
): { readonly growth: Growth | undefined; readonly share?: number } {
  if (growth === undefined) return { growth };
  const judged = now.ready >= growth.to && now.nowMs - growth.atMs >= 2 * rules.panicMs;
  if (!judged) return { growth };
  const share = errorShare(burst);
  const helped = succeeded(burst) > growth.succeededBefore * rules.helpFactor;
  const risen =
    !helped &&
    share >= growth.errorsBefore + rules.errorRise &&
    share >= growth.errorsBefore * rules.errorFactor;
  if (!risen) return { growth: { ...growth, heldSinceMs: undefined } };
  const heldSinceMs = growth.heldSinceMs ?? now.nowMs;
  return now.nowMs - heldSinceMs < rules.errorHoldMs
    ? { growth: { ...growth, heldSinceMs }, share }
    : { growth: undefined };
}
