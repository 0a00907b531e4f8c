/** The order in which services start: `depends_on`. */
import type { z } from "zod";

import { mistake } from "../schema";

interface Dependent {
  readonly name: string;
  readonly depends_on: readonly string[];
  /** Of a job. */
  readonly schedule?: unknown;
}

/** Services that do not exist, that never start by themselves, or that wait for each other. */
export function mistakesOfDependencies(services: readonly Dependent[]): z.core.$ZodRawIssue[] {
  const byName = new Map(services.map((service) => [service.name, service]));
  const wrongs = services.flatMap(({ name, depends_on }, index) =>
    depends_on.flatMap((other, at) => {
      const path = [index, "depends_on", at];
      if (other === name) return [mistake(path, `is ${other}, the service itself`, "remove it")];
      const found = byName.get(other);
      if (found === undefined) {
        const cure = `use one of ${services.map((each) => each.name).filter((each) => each !== name).join(", ")}`; // prettier-ignore
        return [mistake(path, `is ${other}, which is no service of the stack`, cure)];
      }
      if (found.schedule === undefined) return [];
      return [mistake(path, `is ${other}, a job, which up does not start`, "remove it, or use before")];
    }),
  );
  if (wrongs.length > 0) return wrongs;
  const cycle = cycleIn(services);
  const index = services.findIndex(({ name }) => name === cycle?.[0]);
  if (cycle === undefined) return [];
  return [mistake([index, "depends_on"], `is a cycle: ${cycle.join(" → ")}`, "remove one of them")];
}

/** The services as they are given, but each after those that it depends on. */
export function inOrder<T extends Dependent>(services: readonly T[]): T[] {
  const ordered = new Set<T>();
  const add = (service: T): void => {
    if (ordered.has(service)) return;
    for (const other of services) if (service.depends_on.includes(other.name)) add(other);
    ordered.add(service);
  };
  services.forEach(add);
  return [...ordered];
}

/** The names along a cycle, with the first one at its end again. */
function cycleIn(services: readonly Dependent[]): string[] | undefined {
  const byName = new Map(services.map((service) => [service.name, service]));
  const done = new Set<string>();
  const follow = (name: string, path: readonly string[]): string[] | undefined => {
    const start = path.indexOf(name);
    if (start >= 0) return [...path.slice(start), name];
    if (done.has(name)) return undefined;
    for (const other of byName.get(name)?.depends_on ?? []) {
      const found = follow(other, [...path, name]);
      if (found !== undefined) return found;
    }
    done.add(name);
    return undefined;
  };
  for (const { name } of services) {
    const found = follow(name, []);
    if (found !== undefined) return found;
  }
  return undefined;
}
