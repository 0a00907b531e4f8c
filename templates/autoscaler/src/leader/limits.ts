/** Limits of memory and processor: collects what instances use, and recommends. */
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { compare } from "../../../../lib/text";
import { parseServiceName } from "../../../../routing/grammar";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { readLabels, type Scaling } from "../../../../routing/scaling/labels";
import { readChosen } from "../../../../routing/scaling/limits";
import type { LimitsStatus } from "../../../../routing/scaling/limits-status";
import type { LimitKind } from "../../../../routing/scaling/resources";
import { keyPath } from "../consul/client";
import { entriesOf } from "../consul/decode";
import type { SwarmService } from "../swarm/types";
import { outOfMemoryOn, usesOn, type UsageBoard } from "../usage/board";
import { decideLimit, type LimitDecision, type Need } from "../vertical/decide";
import { addToMinute, samplesOf, type Minute } from "../vertical/minute";
import { addOutOfMemory, addUse, newUsage, readUsage, storeUsage, type InstanceUse, type Usage } from "../vertical/usage"; // prettier-ignore
import type { LeaderOptions } from "./options";

const minuteMs = 60_000;
/** Every service's history is written once in so many minutes, a share of them each minute. */
const writeMinutes = 10;

/** What is remembered of a service. */
interface Memory {
  usage: Usage;
  minute: Minute;
  /** What its limits are, and since when by a clock that never goes back. */
  readonly limits: Map<LimitKind, { readonly current: number | undefined; readonly changedMs: number }>;
  status?: LimitsStatus;
}

const newMemory = (usage = newUsage(Date.now())): Memory => ({ usage, minute: new Map(), limits: new Map() });

/** One term's knowledge of limits. What instances have used goes on from term to term. */
export class Limits {
  /** By name in Docker: a service that is made anew may keep what is known of it. */
  private readonly memories = new Map<string, Memory>();
  private minutes = 0;
  private sampledMs = -Infinity;
  private isResumed = false;
  private readonly complaint: Complaint;

  constructor(private readonly options: LeaderOptions) {
    this.complaint = new Complaint(options.log);
  }

  /** @returns what is known, for the status */
  async tick(services: readonly SwarmService[], board: UsageBoard, nowMs: number): Promise<LimitsStatus[]> {
    if (!this.isResumed) await this.resume();
    await this.forgetStrangers(services);
    const uses = usesOn(board, nowMs);
    const ends = outOfMemoryOn(board, nowMs);
    const isMinute = uses.size > 0 && nowMs - this.sampledMs >= minuteMs;
    if (isMinute) [this.minutes, this.sampledMs] = [this.minutes + 1, nowMs];
    const written: string[] = [];
    for (const [index, service] of services.entries()) {
      const memory = this.memoryOf(service);
      const now = uses.get(service.id) ?? new Map<string, InstanceUse>();
      memory.minute = addToMinute(memory.minute, now);
      const before = memory.usage;
      const samples = samplesOf(memory.minute);
      const atMs = Date.now();
      const end = ends.get(service.id);
      if (isMinute) memory.usage = addUse(memory.usage, samples, atMs);
      const use = memory.usage;
      if (end !== undefined) memory.usage = addOutOfMemory(use, end, atMs);
      const hasEnded = memory.usage !== use;
      if (!isMinute && !hasEnded) continue;
      const isComplete = now.size > 0 && now.size >= service.running;
      const usedBytes = isComplete ? Math.max(...samples.map(({ memoryBytes }) => memoryBytes)) : undefined;
      this.decide(service, memory, { usage: memory.usage, usedBytes, outOfMemoryBytes: end, atMs, nowMs });
      if (isMinute) memory.minute = new Map();
      const isTurn = memory.usage !== before && (this.minutes + index) % writeMinutes === 0;
      if (isTurn || hasEnded) written.push(service.swarmName);
    }
    await this.write(written);
    return this.statuses(services);
  }

  private decide(service: SwarmService, memory: Memory, need: Need): void {
    const read = readLabels(service.labels);
    const scaling: Scaling = read.ok ? read.value : {};
    const chosen = readChosen(service.labels, scaling);
    const decide = (kind: LimitKind, fixed: number | undefined, automatic: number | undefined) => {
      const bounds = scaling[kind];
      const current = bounds === undefined ? fixed : automatic;
      const last = memory.limits.get(kind);
      const changedMs = last?.current === current ? (last?.changedMs ?? need.nowMs) : need.nowMs;
      memory.limits.set(kind, { current, changedMs });
      return decideLimit(kind, { current, bounds, changedMs }, need);
    };
    const decisions = {
      memory: decide("memory", service.memoryBytes, chosen.memoryBytes),
      cpus: decide("cpus", service.cores, chosen.cores),
    };
    memory.status = statusOf(service, decisions);
  }

  private memoryOf({ swarmName }: SwarmService): Memory {
    const memory = this.memories.get(swarmName) ?? newMemory();
    this.memories.set(swarmName, memory);
    return memory;
  }

  /** Without two of the same name in Consul. */
  private statuses(services: readonly SwarmService[]): LimitsStatus[] {
    const byName = new Map<string, LimitsStatus>();
    for (const { swarmName } of services) {
      const status = this.memories.get(swarmName)?.status;
      if (status !== undefined && !byName.has(status.name) && parseServiceName(status.name).ok)
        byName.set(status.name, status);
    }
    return [...byName.values()].sort((a, b) => compare(a.name, b.name));
  }

  private async resume(): Promise<void> {
    const { body } = await this.options.consul.get(`kv/${scalingKeys.history}?recurse`);
    for (const [swarmName, { value }] of entriesOf(body, scalingKeys.history)) {
      const usage = readUsage(value);
      if (!usage.ok) this.options.log(`${scalingKeys.history}${swarmName} ${usage.error}; it begins anew`);
      this.memories.set(swarmName, newMemory(usage.ok ? usage.value : undefined));
    }
    this.isResumed = true;
  }

  private async write(swarmNames: readonly string[]): Promise<void> {
    const { consul, isLeading } = this.options;
    try {
      await Promise.all(
        swarmNames.map(async (swarmName) => {
          const usage = this.memories.get(swarmName)?.usage;
          if (usage !== undefined && isLeading())
            await consul.putKey(scalingKeys.history + swarmName, storeUsage(usage));
        }),
      );
      this.complaint.clear();
    } catch (error) {
      // Decisions do not depend on it.
      this.complaint.about(`what instances have used is not written: ${messageOf(error)}`);
    }
  }

  /** Forgets services that are gone. */
  private async forgetStrangers(services: readonly SwarmService[]): Promise<void> {
    const { consul, isLeading } = this.options;
    const known = new Set(services.map(({ swarmName }) => swarmName));
    for (const swarmName of this.memories.keys()) {
      if (known.has(swarmName)) continue;
      const key = scalingKeys.history + swarmName;
      const entry = entriesOf((await consul.get(`kv/${keyPath(key)}`)).body, key).get("");
      if (entry !== undefined && isLeading()) await consul.deleteKey(key, entry.index);
      this.memories.delete(swarmName);
    }
  }
}

type Decisions = Readonly<Record<LimitKind, LimitDecision | undefined>>;

function statusOf({ swarmName, registration }: SwarmService, { memory, cpus }: Decisions): LimitsStatus {
  const problems = (["memory", "cpus"] as const).flatMap((kind) => {
    const problem = { memory, cpus }[kind]?.problem;
    return problem === undefined ? [] : [`${kind} ${problem}`];
  });
  return {
    name: registration?.name ?? swarmName,
    swarmName,
    ...(memory !== undefined && { memory: memory.status }),
    ...(cpus !== undefined && { cpus: cpus.status }),
    ...(problems.length > 0 && { reason: problems.join("; ") }),
  };
}
