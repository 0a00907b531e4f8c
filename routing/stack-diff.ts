/** Compares a stack as deployed and as configured: routing, images and limits. Pure. */
import { compareRoutings, type Difference, type InstancesDifference, type OptionDifference } from "./diff";
import type { OptionValue } from "./option";
import { plannedRouting, type PlannedStack, type StackService } from "./planned";
import { describeRange } from "./scaling/replicas";

/**
 * Compares the routings of both with {@link compareRoutings}. Planned instances have no addresses yet, so only their number
 * and settings are compared: `image`, `cpus`, `memory`, `weight`, and `replicas` if it is a range.
 *
 * @param kv Consul's KV, which is assumed not to change
 */
export function compareStacks(
  before: PlannedStack,
  after: PlannedStack,
  kv: Readonly<Record<string, string>> = {},
): Difference[] {
  const [was, is] = withCounts(before, after);
  const differences = compareRoutings(plannedRouting(was, kv), plannedRouting(is, kv));
  const given = common(before, after).flatMap(([old, now]) => givenDifferences(old, now));
  const workers = workerDifferences(before, after);
  return [
    ...differences.flatMap((each): Difference[] => {
      if (each.kind !== "instances") return [each];
      const counted = { ...each, added: [], removed: [], reweighted: [] };
      return JSON.stringify(each.before) === JSON.stringify(each.after) ? [] : [counted];
    }),
    ...workers,
    ...given,
  ];
}

/**
 * Both stacks as if each service ran as many instances as `up` would find and leave. In a range any number is right, and nobody
 * knows which it is, so a service that had one keeps what it has.
 */
export function withCounts(before: PlannedStack, after: PlannedStack): [PlannedStack, PlannedStack] {
  const counts = new Map(common(before, after).map(([old, now]) => [now.name, countsOf(old, now)] as const));
  const counted = (stack: PlannedStack, side: 0 | 1): PlannedStack => ({
    ...stack,
    services: stack.services.map((each) => ({
      ...each,
      replicas: counts.get(each.name)?.[side] ?? each.replicas,
    })),
  });
  return [counted(before, 0), counted(after, 1)];
}

function countsOf(old: StackService, now: StackService): [number, number] {
  if (old.range !== undefined) return [now.replicas, now.replicas];
  if (now.range === undefined) return [old.replicas, now.replicas];
  const { min, max } = now.range;
  return [old.replicas, Math.min(max, Math.max(min, old.replicas, 1))];
}

/** The services whose instances will be replaced, because more than their number changes. */
export function replacedServices(before: PlannedStack, after: PlannedStack): readonly StackService[] {
  const sorted = (value: object): unknown => Object.entries(value).sort();
  const settings = (service: StackService): string =>
    JSON.stringify(
      sorted({
        ...service,
        replicas: 0,
        range: undefined,
        meta: sorted(service.meta ?? {}),
        settings: sorted(service.settings ?? {}),
      }),
    );
  return common(before, after).flatMap(([old, now]) => (settings(old) === settings(now) ? [] : [now]));
}

/** The services in both stacks, with the definition in each. */
function common(before: PlannedStack, after: PlannedStack): (readonly [StackService, StackService])[] {
  const had = new Map(before.services.map((service) => [service.name, service]));
  return after.services.flatMap((now) => {
    const old = had.get(now.name);
    return old === undefined ? [] : [[old, now] as const];
  });
}

/** Services that are in no routing. */
function workerDifferences(before: PlannedStack, after: PlannedStack): InstancesDifference[] {
  const countsIn = ({ services }: PlannedStack) =>
    new Map(services.flatMap(({ name, type, replicas }) => (type === "none" ? [[name, replicas]] : [])));
  const [had, has] = [countsIn(before), countsIn(after)];
  return [...new Set([...had.keys(), ...has.keys()])].sort().flatMap((service): InstancesDifference[] => {
    const [was, is] = [had, has].map((counts) => ({ serving: counts.get(service) ?? 0, notPassing: 0 }));
    if (was === undefined || is === undefined || was.serving === is.serving) return [];
    return [{ kind: "instances", service, before: was, after: is, added: [], removed: [], reweighted: [] }];
  });
}

function givenDifferences(old: StackService, now: StackService): OptionDifference[] {
  const isRange = old.range !== undefined || now.range !== undefined;
  const shown = ({ replicas, range }: StackService) => (range ? describeRange(range) : replicas);
  const values = (service: StackService): Record<string, OptionValue | undefined> => {
    const { runs, cpus, memory, meta } = service;
    return {
      replicas: isRange ? shown(service) : undefined,
      image: runs,
      cpus,
      memory,
      weight: meta?.["weight"],
      ...service.settings,
    };
  };
  const [before, after] = [values(old), values(now)];
  return Object.keys({ ...after, ...before }).flatMap((option): OptionDifference[] => {
    const [was, is] = [before[option], after[option]];
    if (was === is) return [];
    return [
      {
        kind: "option",
        service: now.name,
        option,
        ...(was === undefined ? {} : { before: was }),
        ...(is === undefined ? {} : { after: is }),
      },
    ];
  });
}
