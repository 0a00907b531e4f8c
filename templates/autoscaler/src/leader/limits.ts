/** Limits of memory and processor: collects what instances use, recommends, and changes automatic limits. */
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { compare } from "../../../../lib/text";
import { parseServiceName } from "../../../../routing/grammar";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { readLabels, type Scaling } from "../../../../routing/scaling/labels";
import { encodeLimits, readChosen, type ChosenLimits } from "../../../../routing/scaling/limits";
import type { LimitsStatus } from "../../../../routing/scaling/limits-status";
import type { LimitKind } from "../../../../routing/scaling/resources";
import { keyPath } from "../consul/client";
import { entriesOf } from "../consul/decode";
import type { SwarmService } from "../swarm/types";
import { outOfMemoryOn, usesOn, type UsageBoard } from "../usage/board";
import { decideLimit, type LimitDecision, type Need } from "../vertical/decide";
import { addToMinute, samplesOf, type Minute } from "../vertical/minute";
import { changeSentence } from "../vertical/recommend";
import { addOutOfMemory, addUse, newUsage, readUsage, storeUsage, type InstanceUse, type Usage } from "../vertical/usage"; // prettier-ignore
import type { LeaderOptions } from "./options";
import type { World } from "./world";

const minuteMs = 60_000;
/** Every service's history is written once in so many minutes, a share of them each minute. */
const writeMinutes = 10;
/** An instance that still runs into the limit of the specification so long after the choice of a higher one does so as it starts. */
const settledMs = 2 * minuteMs;

/** What is remembered of a service. */
interface Memory {
  usage: Usage;
  minute: Minute;
  /** What its limits are, and since when by a clock that never goes back. */
  readonly limits: Map<LimitKind, { readonly current: number | undefined; readonly changedMs: number }>;
  /** Whether it has to be decided. */
  isDue: boolean;
  /** The last change, and why the last try failed. */
  said?: string | undefined;
  failure?: string | undefined;
  status?: LimitsStatus;
}

const newMemory = (usage = newUsage(Date.now())): Memory => ({
  usage,
  minute: new Map(),
  limits: new Map(),
  isDue: false,
});

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

  /**
   * @param busy services that cannot be changed in this tick
   * @returns what is known, for the status
   */
  async tick(
    { swarm: { services, cores }, limits }: Pick<World, "swarm" | "limits">,
    board: UsageBoard,
    busy: ReadonlySet<string>,
    nowMs: number,
  ): Promise<LimitsStatus[]> {
    if (!this.isResumed) await this.resume();
    await this.forgetStrangers(services);
    const uses = usesOn(board, nowMs);
    const ends = outOfMemoryOn(board, nowMs);
    const isMinute = uses.size > 0 && nowMs - this.sampledMs >= minuteMs;
    if (isMinute) [this.minutes, this.sampledMs] = [this.minutes + 1, nowMs];
    const written: string[] = [];
    for (const [index, service] of services.entries()) {
      const memory = this.memoryOf(service);
      const before = memory.usage;
      const need = observe(
        memory,
        service,
        uses.get(service.id) ?? new Map(),
        ends.get(service.id),
        isMinute,
        nowMs,
      );
      const isTurn = isMinute && memory.usage !== before && (this.minutes + index) % writeMinutes === 0;
      if (isTurn || need.hasEnded) written.push(service.swarmName);
      if (isMinute || need.outOfMemoryBytes !== undefined) memory.isDue = true;
      if (memory.isDue && !service.updating && !busy.has(service.swarmName))
        await this.decide(service, memory, need, cores);
    }
    await this.write(written);
    await this.publish(services, limits?.value, cores);
    return this.statuses(services);
  }

  private async decide(service: SwarmService, memory: Memory, need: Need, cores: number): Promise<void> {
    const scaling = scalingOf(service, cores);
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
    const outcome = await this.change(service, memory, decisions, this.failsToStart(service, memory, need));
    // Its new labels are known at the next tick.
    memory.isDue = outcome !== "nothing";
    memory.status = statusOf(service, decisions, memory.failure ?? memory.said);
  }

  /** Whether instances end before they get the limit that has been chosen: they start with that of the specification. */
  private failsToStart({ memoryBytes }: SwarmService, { limits }: Memory, need: Need): boolean {
    const { current, changedMs = need.nowMs } = limits.get("memory") ?? {};
    return (
      memoryBytes !== undefined &&
      current !== undefined &&
      memoryBytes < current &&
      (need.outOfMemoryBytes ?? Infinity) <= memoryBytes &&
      need.nowMs - changedMs >= settledMs
    );
  }

  /** @param fails whether instances have to be replaced, because they do not start with the limit of the specification */
  private async change(
    { swarmName, registration, id, version }: SwarmService,
    memory: Memory,
    decisions: Decisions,
    fails: boolean,
  ): Promise<"nothing" | "changed" | "failed"> {
    const { swarm, dry, isLeading, log } = this.options;
    const sentences = kinds.flatMap((kind) => {
      const change = decisions[kind]?.change;
      return change === undefined ? [] : [changeSentence(kind, change)];
    });
    if (fails) sentences.push("instances are replaced, because they need more memory to start than they get");
    if (sentences.length === 0 || !isLeading()) return "nothing";
    const [name, sentence] = [registration?.name ?? swarmName, sentences.join("; ")];
    if (dry) {
      if (sentence !== memory.said) log(`would limit ${name}: ${sentence}`);
      memory.said = sentence;
      return "nothing";
    }
    const cores = decisions.cpus?.change?.to;
    const memoryBytes =
      decisions.memory?.change?.to ?? (fails ? memory.limits.get("memory")?.current : undefined);
    try {
      await swarm.relimit(id, {
        version,
        ...(memoryBytes !== undefined && { memoryBytes }),
        ...(cores !== undefined && { cores }),
        ...(fails && { rollout: true }),
      });
      log(`limited ${name}: ${sentence}`);
      [memory.said, memory.failure] = [sentence, undefined];
      return "changed";
    } catch (error) {
      const why = `cannot be limited: ${messageOf(error)}`;
      if (why !== memory.failure) log(`${name} ${why}`);
      memory.failure = why;
      return "failed";
    }
  }

  /** Tells all nodes what has been chosen: the labels of services are only known to managers. */
  private async publish(
    services: readonly SwarmService[],
    published: string | undefined,
    cores: number,
  ): Promise<void> {
    const { dry, isLeading, consul } = this.options;
    const chosen = services.flatMap((service): [string, ChosenLimits][] => {
      const limits = readChosen(service.labels, scalingOf(service, cores));
      return Object.keys(limits).length === 0 ? [] : [[service.id, limits]];
    });
    const text = encodeLimits(new Map(chosen));
    const isNews = published === undefined ? chosen.length > 0 : text !== published;
    if (isNews && !dry && isLeading()) await consul.putKey(scalingKeys.limits, text);
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

/** Not more cores than every node has. */
function scalingOf({ labels }: SwarmService, cores: number): Scaling {
  const scaling = readLabels(labels);
  if (!scaling.ok) return {};
  const { cpus, ...rest } = scaling.value;
  const least = (value: number): number => Math.min(value, cores);
  return { ...rest, ...(cpus !== undefined && { cpus: { min: least(cpus.min), max: least(cpus.max) } }) };
}

/** Adds what a service's instances use to its memory. */
function observe(
  memory: Memory,
  { running }: SwarmService,
  uses: ReadonlyMap<string, InstanceUse>,
  outOfMemoryBytes: number | undefined,
  isMinute: boolean,
  nowMs: number,
): Need & { readonly hasEnded: boolean } {
  const atMs = Date.now();
  memory.minute = addToMinute(memory.minute, uses);
  const samples = samplesOf(memory.minute);
  const isComplete = uses.size > 0 && uses.size >= running;
  const usedBytes = isComplete ? Math.max(...samples.map(({ memoryBytes }) => memoryBytes)) : undefined;
  if (isMinute) [memory.usage, memory.minute] = [addUse(memory.usage, samples, atMs), new Map()];
  const before = memory.usage;
  if (outOfMemoryBytes !== undefined) memory.usage = addOutOfMemory(before, outOfMemoryBytes, atMs);
  return { usage: memory.usage, usedBytes, outOfMemoryBytes, atMs, nowMs, hasEnded: memory.usage !== before };
}

const kinds = ["memory", "cpus"] as const;

type Decisions = Readonly<Record<LimitKind, LimitDecision | undefined>>;

function statusOf(
  { swarmName, registration }: SwarmService,
  decisions: Decisions,
  said: string | undefined,
): LimitsStatus {
  const { memory, cpus } = decisions;
  const problems = kinds.flatMap((kind) => {
    const problem = decisions[kind]?.problem;
    return problem === undefined ? [] : [`${kind} ${problem}`];
  });
  const reason = [...(said === undefined ? [] : [said]), ...problems].join("; ");
  return {
    name: registration?.name ?? swarmName,
    swarmName,
    ...(memory !== undefined && { memory: memory.status }),
    ...(cpus !== undefined && { cpus: cpus.status }),
    ...(reason !== "" && { reason }),
  };
}
