/** Compares a stack as deployed and as configured: routing, images and limits. Pure. */
import { compareRoutings, type Difference, type OptionDifference } from "./diff";
import type { OptionValue } from "./option";
import { plannedRouting, type PlannedStack, type StackService } from "./planned";

/**
 * Compares the routings of both with {@link compareRoutings}. Planned instances have no addresses yet, so only their number
 * and settings are compared: `image`, `cpus`, `memory`, `weight`.
 *
 * @param kv Consul's KV, which is assumed not to change
 */
export function compareStacks(
  before: PlannedStack,
  after: PlannedStack,
  kv: Readonly<Record<string, string>> = {},
): Difference[] {
  const differences = compareRoutings(plannedRouting(before, kv), plannedRouting(after, kv));
  const given = common(before, after).flatMap(([old, now]) => givenDifferences(old, now));
  return [
    ...differences.flatMap((each): Difference[] => {
      if (each.kind !== "instances") return [each];
      const counted = { ...each, added: [], removed: [], reweighted: [] };
      return JSON.stringify(each.before) === JSON.stringify(each.after) ? [] : [counted];
    }),
    ...given,
  ];
}

/** The services whose instances will be replaced, because more than their number changes. */
export function replacedServices(before: PlannedStack, after: PlannedStack): readonly StackService[] {
  const sorted = (value: object): unknown => Object.entries(value).sort();
  const settings = (service: StackService): string =>
    JSON.stringify(sorted({ ...service, replicas: 0, meta: sorted(service.meta ?? {}) }));
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

function givenDifferences(old: StackService, now: StackService): OptionDifference[] {
  const values = ({ runs, cpus, memory, meta }: StackService): Record<string, OptionValue | undefined> => ({
    image: runs,
    cpus,
    memory,
    weight: meta?.["weight"],
  });
  const [before, after] = [values(old), values(now)];
  return Object.keys(after).flatMap((option): OptionDifference[] => {
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
