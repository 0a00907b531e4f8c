/** Decides about one job: whether a run has ended, has to be ended, or is to start. Pure. */
import { endedStates, runLabel, settledMs } from "../../../../routing/jobs/docker";
import { lastTime, nextTime, type Schedule } from "../../../../routing/jobs/schedule";
import type { JobRun } from "../../../../routing/jobs/status";
import type { SwarmJob, SwarmRun } from "../swarm/types";
import { withRun, type CurrentRun, type JobRecord } from "./record";

export type JobAction = { readonly kind: "start"; readonly due: string } | { readonly kind: "end" };

export interface JobDecision {
  /** What is known once the action has been carried out. */
  readonly record: JobRecord;
  readonly action?: JobAction;
  /** Since when it runs. */
  readonly running?: string;
  /** For the log: the rest of a sentence that begins with the job. */
  readonly notes: readonly string[];
}

/** A run that starts later than this is told of as made up. */
const promptMs = 60_000;

const iso = (ms: number): string => new Date(ms).toISOString();
const later = (one: string, other: string): string => (one > other ? one : other);

/** @param record undefined for a job that is new here */
export function decideJob(
  job: SwarmJob,
  schedule: Schedule,
  record: JobRecord | undefined,
  nowMs: number,
): JobDecision {
  const notes: string[] = [];
  let next = atStart(job, schedule, record, nowMs);
  const run = job.started ? runOf(job, nowMs) : undefined;
  const isNew = run !== undefined && job.run !== next.finished && next.current?.number !== job.run;
  if (next.current !== undefined && (run === undefined || isNew)) {
    next = finished(next, next.current, { result: "ended", end: iso(nowMs), reason: "it was broken off" });
    notes.push("was broken off");
  }
  if (isNew) next = { ...next, current: currentOf(job, record, run.start ?? iso(nowMs)) };
  if (next.current?.number === job.run && run?.ending !== undefined) {
    next = finished(next, next.current, run.ending);
    const { result, exitCode, reason } = run.ending;
    notes.push(
      `has ${result}${result === "failed" ? `: ${reason ?? `exit code ${exitCode ?? "unknown"}`}` : ""}`,
    );
  }
  const { current } = next;
  if (current !== undefined && nowMs - Date.parse(current.start) >= schedule.deadlineMs) {
    const reason = "it took longer than its deadline";
    return {
      record: finished(next, current, { result: "ended", end: iso(nowMs), reason }),
      action: { kind: "end" },
      notes: [...notes, "takes longer than its deadline, and is ended"],
    };
  }
  const due = whenDue(next, schedule, job.run + 1, nowMs);
  return { ...due, notes: [...notes, ...due.notes] };
}

/** The record with which a job begins, and how it goes on with a schedule that has changed. */
function atStart(
  { labels, createdAt, run, started }: SwarmJob,
  { cron, zone }: Schedule,
  record: JobRecord | undefined,
  nowMs: number,
): JobRecord {
  const schedule = `${cron} ${zone}`;
  const startedFor = labels[runLabel] ?? "";
  if (record === undefined)
    return { schedule, handled: later(createdAt, startedFor), finished: started ? run - 1 : run, runs: [] };
  if (record.schedule !== schedule) return { ...record, schedule, handled: iso(nowMs) };
  return { ...record, handled: later(record.handled, startedFor) };
}

function currentOf({ labels, run }: SwarmJob, record: JobRecord | undefined, start: string): CurrentRun {
  const due = labels[runLabel];
  const isDue = due !== undefined && due > (record?.handled ?? "");
  return { number: run, start, ...(isDue && { due }) };
}

interface Ongoing {
  readonly start: string | undefined;
  /** Undefined while it goes on. */
  readonly ending?: Omit<JobRun, "due" | "start">;
}

/** Of a job that has been started. */
function runOf({ attempts, retries }: SwarmJob, nowMs: number): Ongoing {
  const inOrder = [...attempts].sort((one, other) => (one.createdAt < other.createdAt ? -1 : 1));
  const start = inOrder[0]?.createdAt;
  const last = inOrder.at(-1);
  if (last === undefined || inOrder.some(isLive)) return { start };
  const end = iso(Date.parse(last.changedAt));
  if (last.state === "complete") return { start, ending: { result: "succeeded", end, exitCode: 0 } };
  if (retries && nowMs - Date.parse(last.changedAt) < settledMs) return { start };
  const { exitCode, error } = last;
  const isOwn = last.state === "failed" && exitCode !== undefined && exitCode !== 0;
  return {
    start,
    ending: isOwn
      ? { result: "failed", end, exitCode }
      : { result: "failed", end, reason: error ?? `Docker says ${last.state}` },
  };
}

const isLive = ({ state }: SwarmRun): boolean => !endedStates.includes(state);

function finished(record: JobRecord, { number, start, due }: CurrentRun, ending: Omit<JobRun, "due" | "start">): JobRecord {
  return withRun({ ...record, current: undefined, finished: number }, { ...ending, start, ...(due !== undefined && { due }) });
} // prettier-ignore

function whenDue(record: JobRecord, schedule: Schedule, number: number, nowMs: number): JobDecision {
  const running = record.current?.start;
  const going = running === undefined ? {} : { running };
  const time = lastTime(schedule, new Date(nowMs));
  const due = time?.toISOString();
  if (time === undefined || due === undefined || due <= record.handled)
    return { record, ...going, notes: [] };
  const handled = { ...record, handled: due };
  const lateMs = nowMs - time.getTime();
  if (running !== undefined)
    return {
      record: skipped(handled, due),
      ...going,
      notes: [`is not started for ${due}: the run before it is going on`],
    };
  if (lateMs >= schedule.deadlineMs) {
    const reason = "nothing could start it in time";
    return {
      record: withRun(handled, { result: "missed", due, reason }),
      notes: [`has missed ${due}: ${reason}`],
    };
  }
  const how = lateMs > promptMs ? ", which it missed" : "";
  return {
    record: { ...handled, current: { number, start: iso(nowMs), due } },
    action: { kind: "start", due },
    running: iso(nowMs),
    notes: [`starts for ${due}${how}`],
  };
}

/** One entry for all times that one run makes the job skip. */
function skipped(record: JobRecord, due: string): JobRecord {
  const reason = "the run before it was still going on";
  const last = record.runs.at(-1);
  const isAnother = last?.result === "skipped";
  const { runs } = record;
  return withRun(
    { ...record, runs: isAnother ? runs.slice(0, -1) : runs },
    { result: "skipped", due, reason },
  );
}

/** The next time of the schedule; undefined if there is none. */
export const nextOf = (schedule: Schedule, nowMs: number): string | undefined =>
  nextTime(schedule, new Date(nowMs))?.toISOString();
