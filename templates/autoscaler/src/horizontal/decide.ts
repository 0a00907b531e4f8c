/** Decides how many instances one service should have. Pure: figures and time in, a decision and what to remember out. */
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import { errorShare, judgeGrowth, succeeded } from "./errors";
import { processorTotal, type ProcessorTotal } from "./processor";
import type { Limit } from "./reasons";
import { defaultRules, type HorizontalRules } from "./rules";
import { idleSince, sleepingDecision } from "./sleep";
import type { Decision, Observation, ServiceState } from "./types";
import { addPeak, addSample, changed, highest, meansOf } from "./windows";
import { wishFor, type Wish } from "./wish";

/** The state of a service that has not been watched before. A new leader knows nothing of the last minute. */
export const newState = ({ nowMs, replicas }: Pick<Observation, "nowMs" | "replicas">): ServiceState => ({
  atMs: nowMs,
  replicas,
  decided: replicas,
  askedMs: nowMs,
  samples: [],
  wishes: [],
  changes: [],
});

/**
 * One tick of one service.
 *
 * @param before what the last tick returned; undefined at the first one
 * @param rules default: {@link defaultRules}
 */
export function decide(
  before: ServiceState | undefined,
  now: Observation,
  range: ReplicaRange,
  rules: HorizontalRules = defaultRules,
): { readonly state: ServiceState; readonly decision: Decision } {
  const processor = processorTotal(now, rules);
  const state = remember(before ?? newState(now), now, processor, rules);
  const sleeping = sleepingDecision(state, now, range, rules);
  if (sleeping !== undefined) return conclude(state, now, sleeping, rules);

  const stableMeans = meansOf(state.samples, now.nowMs, rules.stableMs);
  const burstMeans = meansOf(state.samples, now.nowMs, rules.panicMs);
  const stable = wishFor(stableMeans, now, processor.instances, range, rules);
  const burst = wishFor(burstMeans, now, processor.instances, range, rules);
  const panicMs = panicSince(state, burst, now, rules);
  const wished = panicMs !== undefined && burst.count > stable.count ? burst : stable;
  const { wish, limits } = intoRange(wished.count, range);
  const needed = intoRange(Math.max(wished.count, burst.count), range).wish;
  const wishes = addPeak(state.wishes, now.nowMs, needed, rules.downWindowMs);
  const { growth, share } = judgeGrowth(state, burstMeans, now, rules);
  const next = { ...state, wishes, panicMs, growth };

  const step = (to: number, more: readonly Limit[]): ReturnType<typeof decide> => {
    const kind = to > now.replicas ? "up" : to < now.replicas ? "down" : "keep";
    const decision = { kind, from: now.replicas, to, wish, basis: wished.basis } as const;
    return conclude(
      next,
      now,
      { ...decision, panic: panicMs !== undefined, limits: [...limits, ...more] },
      rules,
    );
  };
  const inForce = intoRange(now.replicas, range);
  // Somebody has changed the range, or the service outside of it.
  if (inForce.wish !== now.replicas) return step(inForce.wish, inForce.limits);
  if (wish > now.replicas) {
    if (now.waiting > 0) return step(now.replicas, [{ kind: "no room", waiting: now.waiting }]);
    if (growth?.heldSinceMs !== undefined && share !== undefined)
      return step(now.replicas, [
        { kind: "errors", before: growth.errorsBefore, now: share, from: growth.from },
      ]);
    if (panicMs !== undefined) return step(wish, []);
    return step(...paceUp(wish, state, now, rules));
  }
  const unknown = range.targets.processor === undefined ? 0 : processor.unknown;
  return step(...paceDown(next, wish, now, unknown, rules));
}

/** Adds the figures of this tick to what is remembered. */
function remember(
  state: ServiceState,
  now: Observation,
  processor: ProcessorTotal,
  rules: HorizontalRules,
): ServiceState {
  const { nowMs, load } = now;
  return {
    ...state,
    ...noteChange(state, now, rules),
    atMs: nowMs,
    replicas: now.replicas,
    samples: addSample(state.samples, { atMs: nowMs, ...load, processor: processor.use }, rules.stableMs),
    idleSinceMs: idleSince(state, now),
  };
}

/**
 * What has changed since the last tick. Only what Docker has counts: a decision may have failed, and others change services
 * too.
 */
function noteChange(
  state: ServiceState,
  { nowMs, replicas }: Observation,
  rules: HorizontalRules,
): Pick<ServiceState, "changes" | "askedMs"> {
  const longestMs = Math.max(rules.up.perMs, rules.down.perMs);
  const old = state.changes.some(({ atMs }) => atMs <= nowMs - longestMs);
  const changes = old ? state.changes.filter(({ atMs }) => atMs > nowMs - longestMs) : state.changes;
  const by = replicas - state.replicas;
  if (by === 0) return { changes, askedMs: state.askedMs };
  const asked = by > 0 && (replicas !== state.decided || state.replicas === 0);
  return {
    changes: [...changes, { atMs: state.atMs, by }],
    askedMs: asked ? nowMs : state.askedMs,
  };
}

/** When panic was last called for, or undefined if it has ended. */
function panicSince(
  state: ServiceState,
  burst: Wish,
  now: Observation,
  rules: HorizontalRules,
): number | undefined {
  if (burst.count >= rules.panicFactor * Math.max(1, now.ready)) return now.nowMs;
  const since = state.panicMs;
  return since !== undefined && now.nowMs - since < rules.panicHoldMs ? since : undefined;
}

/** The count within the range. An awake service has at least one instance. */
function intoRange(count: number, { min, max }: ReplicaRange): { wish: number; limits: Limit[] } {
  const least = Math.max(1, min);
  if (count < least) return { wish: least, limits: [{ kind: "min", bound: least }] };
  if (count > max) return { wish: max, limits: [{ kind: "max", bound: max }] };
  return { wish: count, limits: [] };
}

type Step = [to: number, limits: readonly Limit[]];

function paceUp(wish: number, state: ServiceState, now: Observation, { up }: HorizontalRules): Step {
  const added = changed(state.changes, 1, now.nowMs, up.perMs);
  const removed = changed(state.changes, -1, now.nowMs, up.perMs);
  const start = Math.max(0, now.replicas - added + removed);
  const most = Math.max(up.count, Math.ceil(start * up.share));
  const to = Math.max(now.replicas, Math.min(wish, start + most));
  return [to, to < wish ? [{ kind: "pace up", most, perMs: up.perMs, to }] : []];
}

function paceDown(
  state: ServiceState,
  wish: number,
  now: Observation,
  unknown: number,
  rules: HorizontalRules,
): Step {
  const { nowMs, replicas } = now;
  const recent = Math.min(replicas, Math.max(wish, highest(state.wishes) ?? wish));
  if (wish >= replicas) return [replicas, []];
  if (now.silent.length > 0) return [replicas, [{ kind: "silent", balancers: now.silent }]];
  if (unknown > 0) return [replicas, [{ kind: "unknown use", instances: unknown }]];
  if (state.panicMs !== undefined)
    return [replicas, [{ kind: "panic", leftMs: state.panicMs + rules.panicHoldMs - nowMs }]];
  const leftMs = state.askedMs + rules.stableMs - nowMs;
  if (leftMs > 0) return [replicas, [{ kind: "asked", replicas, leftMs }]];
  const earlier: Limit[] =
    recent > wish ? [{ kind: "earlier wish", wish: recent, windowMs: rules.downWindowMs }] : [];
  if (recent >= replicas) return [replicas, earlier];
  const { count, share, perMs } = rules.down;
  const removed = changed(state.changes, -1, nowMs, perMs);
  const most = Math.max(count, Math.floor((replicas + removed) * share));
  const to = Math.min(replicas, Math.max(recent, replicas - Math.max(0, most - removed)));
  return [to, to > recent ? [...earlier, { kind: "pace down", most, perMs, to }] : earlier];
}

/** Remembers the decision itself. */
function conclude(
  state: ServiceState,
  { nowMs }: Observation,
  decision: Decision,
  rules: HorizontalRules,
): { readonly state: ServiceState; readonly decision: Decision } {
  const { from, to } = decision;
  const next = { ...state, decided: to };
  if (to <= from) return { state: next, decision };
  const errorsBefore = errorShare(meansOf(state.samples, nowMs, rules.stableMs));
  const succeededBefore = succeeded(meansOf(state.samples, nowMs, rules.panicMs));
  return { state: { ...next, growth: { atMs: nowMs, from, to, errorsBefore, succeededBefore } }, decision };
}
