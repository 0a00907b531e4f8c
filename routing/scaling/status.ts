/** What the autoscaler tells of its decisions: one value in Consul's KV, for the load balancers' page and `explain`. */
import { isMapping, parseJson } from "../../lib/values";
import { ok, parseServiceName, refuse, show, type Parsed } from "../grammar";
import { readJobStatus, type JobStatus } from "../jobs/status";
import { readLimitsStatus, type LimitsStatus } from "./limits-status";

export interface ScalingStatus {
  /** The node of the autoscaler that decides. */
  readonly node: string;
  /** Whether it only says what it would do. */
  readonly dry: boolean;
  /** When it was written, as in `2026-11-29T09:00:00.000Z`. */
  readonly at: string;
  /** In order of their names. */
  readonly services: readonly ScaledServiceStatus[];
  /** Limits of memory and processor of services whose use is known, in order of their names. Default: none is known. */
  readonly limits?: readonly LimitsStatus[];
  /** In order of their names. Default: there is none. */
  readonly jobs?: readonly JobStatus[];
  /** How many nodes more, as large as those there are, the tasks that wait for room need; 0 if none waits. */
  readonly nodesWanted: number;
}

export interface ScaledServiceStatus {
  /** As in Consul and in URLs: `hello/v1`. */
  readonly name: string;
  /** As in `docker service ls`. */
  readonly swarmName: string;
  readonly min: number;
  readonly max: number;
  /** How many instances Docker is asked for. */
  readonly replicas: number;
  /** How many take requests. */
  readonly ready: number;
  /** How many the figures ask for, before every limit of pace. */
  readonly wish: number;
  /** Why, in one sentence: `42 concurrent, target 30 at 70 %: 2`. */
  readonly reason: string;
  readonly asleep: boolean;
  /** Tasks that no node has room for. */
  readonly waiting: number;
  /** The last ones, oldest first. */
  readonly changes: readonly ScalingChange[];
  /** Why it is not scaled, or why the last change failed. */
  readonly problem?: string;
}

export interface ScalingChange {
  readonly at: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

export const mostChanges = 10;

const longest = 512 * 1024;
const longestText = 1_000;
const mostServices = 10_000;

/** Texts are cut to what a reader takes. */
export const encodeStatus = (status: ScalingStatus): string =>
  JSON.stringify(status, (_, value: unknown) =>
    typeof value === "string" ? value.slice(0, longestText) : value,
  );

/** Reads a status that anybody may have written. One with a single mistake is refused as a whole; other fields are dropped. */
export function parseStatus(value: string): Parsed<ScalingStatus> {
  if (value.length > longest) return refuse(`has more than ${longest} characters`);
  const read = parseJson(value);
  if (read === undefined) return refuse("is not JSON");
  if (!isMapping(read)) return refuse("is not a mapping");
  const { node, dry, at, services, limits = [], jobs = [], nodesWanted } = read;
  if (!isText(node) || typeof dry !== "boolean" || !isTime(at) || !isCount(nodesWanted))
    return refuse("has no node, dry, at or nodesWanted of the right form");
  if (!Array.isArray(services) || services.length > mostServices)
    return refuse(`has no list of at most ${mostServices} services`);
  const found: ScaledServiceStatus[] = [];
  for (const each of services as unknown[]) {
    const service = isMapping(each) ? serviceOf(each) : undefined;
    if (service === undefined)
      return refuse(`has the service ${show(JSON.stringify(each))}, whose form is wrong`);
    found.push(service);
  }
  if (!Array.isArray(limits) || limits.length > mostServices)
    return refuse(`has no list of limits of at most ${mostServices} services`);
  const foundLimits = (limits as unknown[]).flatMap((each) => readLimitsStatus(each) ?? []);
  if (foundLimits.length < limits.length) return refuse("has limits whose form is wrong");
  if (!Array.isArray(jobs) || jobs.length > mostServices)
    return refuse(`has no list of at most ${mostServices} jobs`);
  const foundJobs = (jobs as unknown[]).flatMap((each) => readJobStatus(each) ?? []);
  if (foundJobs.length < jobs.length) return refuse("has jobs whose form is wrong");
  return ok({ node, dry, at, services: found, limits: foundLimits, jobs: foundJobs, nodesWanted });
}

function serviceOf(value: Readonly<Record<string, unknown>>): ScaledServiceStatus | undefined {
  const { name, swarmName, min, max, replicas, ready, wish, reason, asleep, waiting, changes, problem } =
    value;
  if (!isText(name) || !parseServiceName(name).ok || !isText(swarmName) || !isText(reason)) return undefined;
  if (![min, max, replicas, ready, wish, waiting].every(isCount) || typeof asleep !== "boolean")
    return undefined;
  if (problem !== undefined && !isText(problem)) return undefined;
  if (!Array.isArray(changes) || changes.length > mostChanges) return undefined;
  const read = (changes as unknown[]).flatMap((each) => changeOf(each) ?? []);
  if (read.length < changes.length) return undefined;
  const counts = { min, max, replicas, ready, wish, waiting } as Pick<
    ScaledServiceStatus,
    "min" | "max" | "replicas" | "ready" | "wish" | "waiting"
  >;
  return {
    name,
    swarmName,
    ...counts,
    reason,
    asleep,
    changes: read,
    ...(problem !== undefined && { problem }),
  };
}

function changeOf(value: unknown): ScalingChange | undefined {
  if (!isMapping(value)) return undefined;
  const { at, from, to, reason } = value;
  return isTime(at) && isCount(from) && isCount(to) && isText(reason) ? { at, from, to, reason } : undefined;
}

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= longestText;

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 1_000_000;

const isTime = (value: unknown): value is string =>
  typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value);
