/** What is remembered of a job in Consul's KV, from leader to leader. Pure. */
import { isMapping, parseJson } from "../../../../lib/values";
import { isTime, mostRuns, readRuns, type JobRun } from "../../../../routing/jobs/status";

export interface JobRecord {
  /** The schedule that it belongs to: with another one, times before the change do not count. */
  readonly schedule: string;
  /** The last time of the schedule that was started, skipped or missed. */
  readonly handled: string;
  /** The number of the last run whose end is among the runs. */
  readonly finished: number;
  /** A run that is going on. */
  readonly current?: CurrentRun | undefined;
  readonly lastSuccess?: string;
  /** The last ones, oldest first. */
  readonly runs: readonly JobRun[];
}

export interface CurrentRun {
  readonly number: number;
  readonly start: string;
  /** Undefined if it was started by hand. */
  readonly due?: string;
}

const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Undefined for anything that is none: then the job is new. */
export function readRecord(text: string): JobRecord | undefined {
  const value = parseJson(text);
  if (!isMapping(value)) return undefined;
  const { schedule, handled, finished, current, lastSuccess } = value;
  const runs = readRuns(value["runs"]);
  if (typeof schedule !== "string" || !isTime(handled) || !isNumber(finished) || runs === undefined)
    return undefined;
  const running = current === undefined ? undefined : readCurrent(current);
  return {
    schedule,
    handled,
    finished,
    ...(running !== undefined && { current: running }),
    ...(isTime(lastSuccess) && { lastSuccess }),
    runs,
  };
}

function readCurrent(value: unknown): CurrentRun | undefined {
  if (!isMapping(value)) return undefined;
  const { number, start, due } = value;
  if (!isNumber(number) || !isTime(start)) return undefined;
  return { number, start, ...(isTime(due) && { due }) };
}

export const writeRecord = (record: JobRecord): string => JSON.stringify(record);

/** The record with one run more. */
export function withRun(record: JobRecord, run: JobRun): JobRecord {
  const { result, end } = run;
  return {
    ...record,
    ...(result === "succeeded" && end !== undefined && { lastSuccess: end }),
    runs: [...record.runs, run].slice(-mostRuns),
  };
}
