/** Measures what a node's instances use, by the counters of their containers. */
import type { HttpClient } from "../../../../lib/http";
import { isMapping } from "../../../../lib/values";
import type { TaskUsage, Usage } from "../../../../routing/scaling/usage";

/** A reading of a container's counters. */
export interface Reading {
  /** Processor time so far, in nanoseconds. */
  readonly usedNs: number;
  /** Memory without the cache of files, in bytes; undefined if Docker does not tell. */
  readonly memoryBytes: number | undefined;
  /** When Docker read it, in milliseconds since 1970. */
  readonly atMs: number;
}

export interface Container {
  readonly id: string;
  readonly task: string;
  readonly service: string;
  /** In seconds since 1970. */
  readonly created: number;
  readonly runs: boolean;
}

/** How a container ended. */
export interface End {
  /** In milliseconds since 1970. */
  readonly atMs: number;
  /** The limit that it ran into; undefined if it ended for another reason, or had no limit. */
  readonly outOfMemoryBytes: number | undefined;
}

const label = "com.docker.swarm";

/** The containers of these services in Docker's `GET /containers/json`. */
export function containersOf(answer: unknown, services: ReadonlySet<string>): Container[] {
  return (Array.isArray(answer) ? answer : []).filter(isMapping).flatMap(({ Id, Created, Labels, State }) => {
    const labels = isMapping(Labels) ? Labels : {};
    const [service, task] = [labels[`${label}.service.id`], labels[`${label}.task.id`]];
    if (typeof service !== "string" || !services.has(service)) return [];
    if (typeof task !== "string" || !/^[a-z0-9]{25}$/.test(task)) return [];
    return typeof Id === "string" && typeof Created === "number"
      ? [{ id: Id, task, service, created: Created, runs: State === "running" }]
      : [];
  });
}

/** The counters in Docker's `GET /containers/ID/stats`; undefined if the container does not run. */
export function readingOf(answer: unknown): Reading | undefined {
  if (!isMapping(answer) || !isMapping(answer["cpu_stats"])) return undefined;
  const usage = answer["cpu_stats"]["cpu_usage"];
  const usedNs = isMapping(usage) ? usage["total_usage"] : undefined;
  const atMs = Date.parse(typeof answer["read"] === "string" ? answer["read"] : "");
  const memoryBytes = workingSet(answer["memory_stats"]);
  return typeof usedNs === "number" && usedNs > 0 && atMs > 0 ? { usedNs, memoryBytes, atMs } : undefined;
}

/** Memory in use without files that were not used lately, as `docker stats` shows it. */
export function workingSet(memory: unknown): number | undefined {
  if (!isMapping(memory) || typeof memory["usage"] !== "number" || memory["usage"] <= 0) return undefined;
  const stats = isMapping(memory["stats"]) ? memory["stats"] : {};
  // The first is that of cgroup v1, where the second leaves out what belongs to groups inside.
  const cache = stats["total_inactive_file"] ?? stats["inactive_file"];
  return typeof cache === "number" ? Math.max(0, memory["usage"] - cache) : memory["usage"];
}

/** The end in Docker's `GET /containers/ID/json`; undefined if the container runs. */
export function endOf(answer: unknown): End | undefined {
  const state = isMapping(answer) && isMapping(answer["State"]) ? answer["State"] : {};
  const atMs = Date.parse(typeof state["FinishedAt"] === "string" ? state["FinishedAt"] : "");
  if (state["Running"] !== false || !(atMs > 0)) return undefined;
  const limit =
    isMapping(answer) && isMapping(answer["HostConfig"]) ? answer["HostConfig"]["Memory"] : undefined;
  const ran = state["OOMKilled"] === true && typeof limit === "number" && limit > 0;
  return { atMs, outOfMemoryBytes: ran ? limit : undefined };
}

/** Cores in use between two readings; undefined if they do not follow each other. */
export function coresBetween(before: Reading | undefined, now: Reading): number | undefined {
  if (before === undefined || now.atMs <= before.atMs || now.usedNs < before.usedNs) return undefined;
  return (now.usedNs - before.usedNs) / 1e6 / (now.atMs - before.atMs);
}

/** How long it is told that an instance ran out of memory: longer than a leader takes to look. */
const toldMs = 60_000;

export class Meter {
  /** The containers that ran at the last call. */
  running: readonly Container[] = [];
  private last: ReadonlyMap<string, Reading> = new Map();
  private ends: ReadonlyMap<string, End> = new Map();

  constructor(private readonly docker: HttpClient) {}

  /** The use since the last call, by task. A container is in it from the second call on. */
  async measure(services: ReadonlySet<string>): Promise<Omit<Usage, "sequence">> {
    const filters = encodeURIComponent(JSON.stringify({ label: [`${label}.task.id`] }));
    const answer = await this.get(`/containers/json?all=true&filters=${filters}`);
    const containers = containersOf(answer, services);
    this.running = containers.filter(({ runs }) => runs);
    return {
      tasks: await this.uses(this.running),
      outOfMemory: await this.outOfMemory(containers.filter(({ runs }) => !runs)),
    };
  }

  private async uses(containers: readonly Container[]): Promise<ReadonlyMap<string, TaskUsage>> {
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
      const { memoryBytes, atMs } = reading;
      found.set(container.task, {
        service: container.service,
        ageSeconds: atMs / 1_000 - container.created,
        cores,
        ...(memoryBytes !== undefined && { memoryBytes }),
      });
    }
    this.last = next;
    return found;
  }

  /** Asks once about each container that has ended: Swarm keeps several of each instance. */
  private async outOfMemory(containers: readonly Container[]): Promise<ReadonlyMap<string, number>> {
    const ends = await Promise.all(
      containers.map(async ({ id, service }) => {
        const end =
          this.ends.get(id) ?? (await this.get(`/containers/${id}/json`).then(endOf, () => undefined));
        return end === undefined ? [] : [{ id, service, end }];
      }),
    );
    this.ends = new Map(ends.flat().map(({ id, end }) => [id, end]));
    const found = new Map<string, number>();
    for (const { service, end } of ends.flat())
      if (end.outOfMemoryBytes !== undefined && Date.now() - end.atMs < toldMs)
        found.set(service, Math.max(end.outOfMemoryBytes, found.get(service) ?? 0));
    return found;
  }

  private async get(path: string): Promise<unknown> {
    return JSON.parse((await this.docker.ok("GET", path)).body);
  }
}
