/** What differs between a stack as it is and as it would be: the routing, and what its instances may use. Pure. */
import { compareRoutings, type Difference, type OptionDifference } from "./diff";
import type { OptionValue } from "./option";
import { plannedRouting, type PlannedStack, type StackService } from "./planned";

/**
 * As {@link compareRoutings} of the two; but planned instances have no addresses yet, so only their number is told, and
 * what instances are given is: `image`, `cpus`, `memory`, `weight`.
 *
 * @param kv Consul's KV, which is taken to stay as it is
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

/** The services whose instances are replaced, because something about each of them changes. */
export function replacedServices(before: PlannedStack, after: PlannedStack): readonly StackService[] {
  const sorted = (value: object): unknown => Object.entries(value).sort();
  const shape = (service: StackService): string =>
    JSON.stringify(sorted({ ...service, replicas: 0, meta: sorted(service.meta ?? {}) }));
  return common(before, after).flatMap(([old, now]) => (shape(old) === shape(now) ? [] : [now]));
}

/** The services of both, as they are in each. */
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
