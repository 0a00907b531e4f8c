/** How many instances a service should have by its figures, before any limit. */
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import type { Basis } from "./reasons";
import type { HorizontalRules } from "./rules";
import type { Observation } from "./types";
import type { Means } from "./windows";

export interface Wish {
  readonly count: number;
  readonly basis: Basis;
}

/**
 * The wish by the means of a window: the highest of all signals that have a target.
 *
 * @param instances how many instances the processor use is about
 */
export function wishFor(
  means: Means,
  now: Observation,
  instances: number,
  { targets }: ReplicaRange,
  rules: HorizontalRules,
): Wish {
  const wishes: Wish[] = [];
  for (const signal of ["concurrent", "rate"] as const) {
    const target = targets[signal];
    const value = means[signal];
    if (target === undefined || value === undefined) continue;
    const { utilisation } = rules;
    const exact = value / (target * utilisation);
    const wish = roundUp(exact);
    wishes.push(
      tolerated(exact, now.replicas, { kind: "load", signal, value, target, utilisation, wish }, rules),
    );
  }
  const use = means.processor;
  if (targets.processor !== undefined && use !== undefined) {
    const target = targets.processor;
    const exact = use / target;
    const share = instances === 0 ? 0 : use / instances;
    const basis = { kind: "processor", instances, use: share, target, wish: roundUp(exact) } as const;
    wishes.push(tolerated(exact, now.replicas, basis, rules));
  }
  return (
    wishes.reduce<Wish | undefined>((a, b) => (a === undefined || b.count > a.count ? b : a), undefined) ?? {
      count: now.replicas,
      basis: { kind: "unknown", wish: now.replicas },
    }
  );
}

/** Rounds up, but not for an error of the floating point: 21 / (2 × 0.7) is 15. */
const roundUp = (exact: number): number => Math.ceil(exact - 1e-9);

function tolerated(
  exact: number,
  replicas: number,
  basis: Basis & { readonly wish: number },
  { tolerance }: HorizontalRules,
): Wish {
  const close = replicas > 0 && Math.abs(exact / replicas - 1) <= tolerance && basis.wish !== replicas;
  return close
    ? { count: replicas, basis: { kind: "close", of: basis, wish: replicas, tolerance } }
    : { count: basis.wish, basis };
}
