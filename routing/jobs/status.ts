/** What the autoscaler tells of jobs: the last runs of each, and the next one. Values in Consul's KV, which anybody may have written. */
import { given, isMapping } from "../../lib/values";

/** `ended`: by its deadline, or by somebody; `skipped`: the one before was still going on; `missed`: nothing could start it in time. */
export const runResults = ["succeeded", "failed", "ended", "skipped", "missed"] as const;
export type RunResult = (typeof runResults)[number];

/** Times are as in `2026-11-29T03:00:00.000Z`. */
export interface JobRun {
  readonly result: RunResult;
  /** The time of the schedule; one that was started by hand has none. */
  readonly due?: string;
  readonly start?: string;
  readonly end?: string;
  readonly exitCode?: number;
  readonly reason?: string;
}

export interface JobStatus {
  /** As in the stack file: `shop/report`. */
  readonly name: string;
  /** As in `docker service ls`. */
  readonly swarmName: string;
  /** `0 3 * * * (Europe/Helsinki)`. */
  readonly schedule: string;
  readonly next?: string;
  /** Since when it runs, if it does. */
  readonly running?: string;
  readonly lastSuccess?: string;
  /** The last ones, oldest first. */
  readonly runs: readonly JobRun[];
  /** Why nothing starts it. */
  readonly problem?: string;
}

export const mostRuns = 10;
const longestText = 1_000;

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= longestText;
export const isTime = (value: unknown): value is string =>
  typeof value === "string" &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) &&
  !isNaN(Date.parse(value));

const isMissingOr = (isRight: (value: unknown) => boolean, ...values: unknown[]): boolean =>
  values.every((value) => value === undefined || isRight(value));

/** Undefined if it has a single mistake; other fields are dropped. */
export function readRun(value: unknown): JobRun | undefined {
  if (!isMapping(value)) return undefined;
  const { result, due, start, end, exitCode, reason } = value;
  if (!runResults.some((each) => each === result) || !isMissingOr(isTime, due, start, end)) return undefined;
  if (!isMissingOr(isText, reason) || !isMissingOr(Number.isSafeInteger, exitCode)) return undefined;
  return given({ result, due, start, end, exitCode, reason }) as unknown as JobRun;
}

/** Undefined if one of them is. */
export function readRuns(value: unknown): readonly JobRun[] | undefined {
  if (!Array.isArray(value) || value.length > mostRuns) return undefined;
  const runs = (value as unknown[]).flatMap((each) => readRun(each) ?? []);
  return runs.length === value.length ? runs : undefined;
}

export function readJobStatus(value: unknown): JobStatus | undefined {
  if (!isMapping(value)) return undefined;
  const { name, swarmName, schedule, next, running, lastSuccess, problem } = value;
  const runs = readRuns(value["runs"]);
  if (runs === undefined || ![name, swarmName, schedule].every(isText)) return undefined;
  if (!isMissingOr(isTime, next, running, lastSuccess) || !isMissingOr(isText, problem)) return undefined;
  return given({ name, swarmName, schedule, next, running, lastSuccess, runs, problem }) as unknown as JobStatus; // prettier-ignore
}

/** One line: `failed with exit code 3 at 2026-11-29 03:00:07, after 7 s`. */
export function describeRun({ result, due, start, end, exitCode, reason }: JobRun): string {
  const at = (time: string): string => time.slice(0, 19).replace("T", " ");
  const code = exitCode === undefined || result === "succeeded" ? "" : ` with exit code ${exitCode}`;
  const when = end ?? start ?? due;
  const took =
    start !== undefined && end !== undefined
      ? `, after ${Math.max(0, Math.round((Date.parse(end) - Date.parse(start)) / 1_000))} s`
      : "";
  const hand = due === undefined && start !== undefined ? ", by hand" : "";
  return `${result}${code}${when === undefined ? "" : ` at ${at(when)}`}${took}${hand}${reason === undefined ? "" : `: ${reason}`}`;
}
