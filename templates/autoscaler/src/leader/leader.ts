/** Ticks while this autoscaler leads: reads the world, decides, and changes what has to change. */
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { encodeStatus, parseStatus, type ScalingStatus } from "../../../../routing/scaling/status";
import { entriesOf } from "../consul/decode";
import { updateBoard, type Board } from "../figures/board";
import { lowestIndex, nobody, updateMembers, type Members } from "../figures/members";
import { tick, type States } from "../tick";
import { Jobs } from "../jobs/jobs";
import { updateSeen, updateUsage, type Seen, type UsageBoard } from "../usage/board";
import { History } from "./history";
import { Limits } from "./limits";
import { Refused } from "./refused";
import { observe } from "./observe";
import { execute } from "./execute";
import type { LeaderOptions } from "./options";
import { statusOf } from "./status";
import { readKeys, readWorld, type World } from "./world";

/** How often a status is written that has not changed. */
const statusMs = 10_000;

/** One term of office: another one begins without memory, except for what is told of the last changes. */
export class Leader {
  readonly history = new History();
  /** The last status; undefined before the first tick. */
  status: ScalingStatus | undefined;
  private states: States = new Map();
  private members: Members = new Map();
  private board: Board = new Map();
  private usage: UsageBoard = new Map();
  private seen: Seen = new Map();
  /** What all load balancers had in force at the tick before. */
  private inForce = 0;
  private written = { text: "", atMs: -Infinity };
  private isResumed = false;

  private readonly refused: Refused;
  private readonly limits: Limits;
  private readonly jobs: Jobs;

  constructor(private readonly options: LeaderOptions) {
    this.refused = new Refused(options.log);
    this.limits = new Limits(options);
    this.jobs = new Jobs(options, options.wallMs);
  }

  /** @throws Error if Docker or Consul does not answer */
  async tick(): Promise<void> {
    const { consul, swarm, nowMs, isLeading } = this.options;
    if (this.options.jobsOnly === true) return this.tickJobs();
    if (!this.isResumed) await this.resume();
    const world = await readWorld(swarm, consul);
    const now = nowMs();
    await this.updateBoards(world, now);
    const observations = observe(world, this.usage, this.seen, now);
    const { states, decisions } = tick(this.states, observations.scaled, this.board, now);
    if (!isLeading()) return;
    // First, because their time has come.
    const jobs = await this.jobs.tick(world.swarm.jobs, world.jobs);
    this.states = states;
    const changed = await execute(
      { ...this.options, world, observations, decisions, inForce: this.inForce },
      this.history,
    );
    this.inForce = lowestIndex(this.board);
    this.history.keepOnly(new Set(observations.scaled.map(({ name }) => name)));
    const busy = new Set(observations.scaled.filter(({ name }) => changed.has(name)).map(({ swarm }) => swarm.swarmName)); // prettier-ignore
    const limits = await this.limits.tick(world, this.usage, busy, now);
    const { node, dry } = this.options;
    const { nodesWanted } = world.swarm;
    this.status = statusOf(
      { node, dry, at: new Date(), observations, decisions, changed, limits, jobs, nodesWanted },
      this.history,
    );
    await this.writeMeasured(world);
    await this.writeStatus(this.status, now);
  }

  private async tickJobs(): Promise<void> {
    const { node, dry, consul, swarm, isLeading, nowMs } = this.options;
    const [found, records] = await Promise.all([swarm.swarm(), readKeys(consul, scalingKeys.jobs)]);
    if (!isLeading()) return;
    const jobs = await this.jobs.tick(found.jobs, records);
    this.status = { node, dry, at: new Date().toISOString(), services: [], jobs, nodesWanted: 0 };
    await this.writeStatus(this.status, nowMs());
  }

  private async resume(): Promise<void> {
    const { body } = await this.options.consul.get(`kv/${scalingKeys.status}`);
    const text = entriesOf(body, scalingKeys.status).get("")?.value;
    const status = text === undefined ? undefined : parseStatus(text);
    if (status?.ok === true) this.history.resume(status.value);
    this.isResumed = true;
  }

  private async updateBoards(world: World, now: number): Promise<void> {
    const { figures, consul } = world;
    const before = this.members;
    this.members = updateMembers(before, consul, figures.keys(), this.board, now);
    const values = new Map([...this.members.keys()].map((node) => [node, figures.get(node)?.parsed]));
    this.board = updateBoard(this.board, values.size === 0 ? new Map([[nobody, undefined]]) : values, now);
    this.refused.report([
      ...[...figures].map(([node, { parsed }]) => [scalingKeys.figures + node, parsed] as const),
      ...[...world.usage].map(([node, parsed]) => [scalingKeys.usage + node, parsed] as const),
    ]);
    this.usage = updateUsage(this.usage, world.usage, now);
    this.seen = updateSeen(this.seen, world.swarm.services, now);
    if (this.options.dry) return;
    for (const node of before.keys()) {
      const key = figures.get(node);
      if (!this.members.has(node) && key !== undefined && this.options.isLeading())
        await this.options.consul.deleteKey(scalingKeys.figures + node, key.index);
    }
  }

  /** Asks all autoscalers what the instances of all services use. */
  private async writeMeasured({ measured, swarm }: World): Promise<void> {
    const ids = swarm.services.map(({ id }) => id);
    const text = ids.sort().join("\n");
    if (text === (measured?.value ?? "") || !this.options.isLeading()) return;
    await this.options.consul.putKey(scalingKeys.measure, text);
  }

  private async writeStatus(status: ScalingStatus, now: number): Promise<void> {
    const text = encodeStatus({ ...status, at: "" });
    const isDue = text !== this.written.text || now - this.written.atMs >= statusMs;
    if (!isDue || !this.options.isLeading()) return;
    try {
      await this.options.consul.putKey(scalingKeys.status, encodeStatus(status));
      this.written = { text, atMs: now };
    } catch (error) {
      // Decisions do not depend on it.
      this.options.log(`${scalingKeys.status} is not written: ${messageOf(error)}`);
    }
  }
}
