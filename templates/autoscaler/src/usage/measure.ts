/** Measures the processor use of a node's instances, by the counters of their containers. */
import type { HttpClient } from "../../../../lib/http";
import { isMapping } from "../../../../lib/values";
import type { TaskUsage } from "../../../../routing/scaling/usage";

/** A reading of a container's counter. */
export interface Reading {
  /** Processor time so far, in nanoseconds. */
  readonly usedNs: number;
  /** When Docker read it, in milliseconds since 1970. */
  readonly atMs: number;
}

export interface Container {
  readonly id: string;
  readonly task: string;
  /** In seconds since 1970. */
  readonly created: number;
}

const label = "com.docker.swarm";

/** The containers of these services in Docker's `GET /containers/json`. */
export function containersOf(answer: unknown, services: ReadonlySet<string>): Container[] {
  return (Array.isArray(answer) ? answer : []).filter(isMapping).flatMap(({ Id, Created, Labels }) => {
    const labels = isMapping(Labels) ? Labels : {};
    const [service, task] = [labels[`${label}.service.id`], labels[`${label}.task.id`]];
    if (typeof service !== "string" || !services.has(service)) return [];
    if (typeof task !== "string" || !/^[a-z0-9]{25}$/.test(task)) return [];
    return typeof Id === "string" && typeof Created === "number" ? [{ id: Id, task, created: Created }] : [];
  });
}

/** The counter in Docker's `GET /containers/ID/stats`; undefined if the container does not run. */
export function readingOf(answer: unknown): Reading | undefined {
  if (!isMapping(answer) || !isMapping(answer["cpu_stats"])) return undefined;
  const usage = answer["cpu_stats"]["cpu_usage"];
  const usedNs = isMapping(usage) ? usage["total_usage"] : undefined;
  const atMs = Date.parse(typeof answer["read"] === "string" ? answer["read"] : "");
  return typeof usedNs === "number" && usedNs > 0 && atMs > 0 ? { usedNs, atMs } : undefined;
}

/** Cores in use between two readings; undefined if they do not follow each other. */
export function coresBetween(before: Reading | undefined, now: Reading): number | undefined {
  if (before === undefined || now.atMs <= before.atMs || now.usedNs < before.usedNs) return undefined;
  return (now.usedNs - before.usedNs) / 1e6 / (now.atMs - before.atMs);
}

export class Meter {
  private last: ReadonlyMap<string, Reading> = new Map();

  constructor(private readonly docker: HttpClient) {}

  /** The use since the last call, by task. A container is in it from the second call on. */
  async measure(services: ReadonlySet<string>): Promise<ReadonlyMap<string, TaskUsage>> {
    const filters = encodeURIComponent(JSON.stringify({ label: [`${label}.task.id`] }));
    const containers = containersOf(await this.get(`/containers/json?filters=${filters}`), services);
    const readings = await Promise.all(
      containers.map(async (container) => {
        const path = `/containers/${container.id}/stats?stream=false&one-shot=true`;
        const reading = await this.get(path).then(readingOf, () => undefined);
        return { container, reading };
      }),
    );
    const [next, found] = [new Map<string, Reading>(), new Map<string, TaskUsage>()];
    for (const { container, reading } of readings) {
      if (reading === undefined) continue;
      next.set(container.id, reading);
      const cores = coresBetween(this.last.get(container.id), reading);
      if (cores === undefined) continue;
      found.set(container.task, { ageSeconds: reading.atMs / 1_000 - container.created, cores });
    }
    this.last = next;
    return found;
  }

  private async get(path: string): Promise<unknown> {
    return JSON.parse((await this.docker.ok("GET", path)).body);
  }
}
