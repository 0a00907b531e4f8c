/** Starts and ends the runs of jobs while this autoscaler leads, and remembers how they ended. */
import { messageOf } from "../../../../lib/errors";
import { describeSchedule, readScheduleLabels, type Schedule } from "../../../../routing/jobs/schedule";
import type { JobStatus } from "../../../../routing/jobs/status";
import { scalingKeys } from "../../../../routing/scaling/keys";
import type { Entry } from "../consul/decode";
import type { LeaderOptions } from "../leader/options";
import type { SwarmJob } from "../swarm/types";
import { decideJob, nextOf, type JobAction } from "./decide";
import { readRecord, writeRecord, type JobRecord } from "./record";

export class Jobs {
  /** Why a job could not be started or ended, by name in Docker. */
  private readonly failures = new Map<string, string>();

  constructor(
    private readonly options: Pick<LeaderOptions, "consul" | "swarm" | "isLeading" | "log">,
    /** The time of day. */
    private readonly wallMs: () => number = Date.now,
  ) {}

  /** @param records by name in Docker, as Consul has them */
  async tick(jobs: readonly SwarmJob[], records: ReadonlyMap<string, Entry>): Promise<JobStatus[]> {
    const statuses: JobStatus[] = [];
    for (const job of jobs) statuses.push(await this.one(job, records.get(job.swarmName)));
    const known = new Set(jobs.map(({ swarmName }) => swarmName));
    for (const [name, { index }] of records)
      if (!known.has(name) && this.options.isLeading())
        await this.options.consul.deleteKey(scalingKeys.jobs + name, index);
    return statuses;
  }

  private async one(job: SwarmJob, entry: Entry | undefined): Promise<JobStatus> {
    const { swarmName, name } = job;
    const record = entry === undefined ? undefined : readRecord(entry.value);
    const schedule = readScheduleLabels(job.labels);
    if (schedule?.ok !== true) {
      const { problem, cure } = schedule?.mistake ?? { problem: "is missing", cure: "set it" };
      const why = `its schedule ${problem}: ${cure}`;
      this.complain(job, why);
      return { name, swarmName, schedule: "", runs: record?.runs ?? [], problem: why };
    }
    const nowMs = this.wallMs();
    const decision = decideJob(job, schedule.value, record, nowMs);
    try {
      if (decision.action !== undefined) await this.act(job, decision.action);
      for (const note of decision.notes) this.options.log(`job ${name} ${note}`);
      await this.remember(swarmName, entry, decision.record);
      this.failures.delete(swarmName);
      return this.status(job, schedule.value, decision.record, decision.running, nowMs);
    } catch (error) {
      const why = `cannot be ${decision.action?.kind === "end" ? "ended" : "started"}: ${messageOf(error)}`;
      this.complain(job, why);
      return this.status(job, schedule.value, record ?? decision.record, record?.current?.start, nowMs);
    }
  }

  private async act({ id, version }: SwarmJob, action: JobAction): Promise<void> {
    if (!this.options.isLeading()) throw new Error("another autoscaler decides now");
    if (action.kind === "start") await this.options.swarm.startRun(id, { version, due: action.due });
    else await this.options.swarm.endRun(id, { version });
  }

  private async remember(swarmName: string, entry: Entry | undefined, record: JobRecord): Promise<void> {
    const text = writeRecord(record);
    if (text === entry?.value || !this.options.isLeading()) return;
    await this.options.consul.putKey(scalingKeys.jobs + swarmName, text);
  }

  private complain({ swarmName, name }: SwarmJob, why: string): void {
    if (this.failures.get(swarmName) !== why) this.options.log(`job ${name}: ${why}`);
    this.failures.set(swarmName, why);
  }

  private status(
    { name, swarmName }: SwarmJob,
    schedule: Schedule,
    { lastSuccess, runs }: JobRecord,
    running: string | undefined,
    nowMs: number,
  ): JobStatus {
    const next = nextOf(schedule, nowMs);
    const problem = this.failures.get(swarmName);
    return {
      name,
      swarmName,
      schedule: describeSchedule(schedule),
      ...(next !== undefined && { next }),
      ...(running !== undefined && { running }),
      ...(lastSuccess !== undefined && { lastSuccess }),
      runs,
      ...(problem !== undefined && { problem }),
    };
  }
}
