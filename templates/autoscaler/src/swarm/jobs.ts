/** Jobs on the narrow socket: what it tells of them, and the changes that start and end a run. Pure. */
import { isMapping, parseJson } from "../../../../lib/values";
import { parseServiceName } from "../../../../routing/grammar";
import { isJob, runLabel } from "../../../../routing/jobs/docker";
import { isTime } from "../../../../routing/jobs/status";
import { mapping } from "./registration";
import { isCount, refuse, unchanged, type Respecified } from "./rescale";
import { labelsOf } from "./services";
import type { EndRun, StartRun, SwarmJob, SwarmRun } from "./types";

type Json = Readonly<Record<string, unknown>>;

const list = (value: unknown): Json[] => (Array.isArray(value) ? value : []).filter(isMapping);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const count = (value: unknown): number => (isCount(value) ? value : 0);

/** Docker's times have nanoseconds. */
function time(value: unknown): string {
  const ms = Date.parse(text(value).replace(/(\.\d{3})\d*/, "$1"));
  return new Date(isNaN(ms) ? 0 : ms).toISOString();
}

/** The jobs, without their attempts, in order of their names. */
export const jobsIn = (services: unknown): SwarmJob[] =>
  list(services)
    .filter((service) => isJob(labelsOf(service)))
    .map(jobOf)
    .sort((a, b) => (a.swarmName < b.swarmName ? -1 : 1));

function jobOf(service: Json): SwarmJob {
  const spec = mapping(service["Spec"]);
  const template = mapping(spec["TaskTemplate"]);
  const swarmName = text(spec["Name"]);
  const name = mapping(mapping(template["ContainerSpec"])["Labels"])["SERVICE_NAME"];
  return {
    id: text(service["ID"]),
    version: count(mapping(service["Version"])["Index"]),
    swarmName,
    name: typeof name === "string" && parseServiceName(name).ok ? name : swarmName,
    labels: labelsOf(service),
    createdAt: time(service["CreatedAt"]),
    run: count(template["ForceUpdate"]),
    started: count(mapping(mapping(spec["Mode"])["Replicated"])["Replicas"]) > 0,
    retries: mapping(template["RestartPolicy"])["Condition"] !== "none",
    attempts: [],
  };
}

/** @param tasks as Docker answers `GET /tasks` */
export function withAttempts(jobs: readonly SwarmJob[], tasks: unknown): SwarmJob[] {
  return jobs.map((job) => ({
    ...job,
    attempts: list(tasks)
      .filter(
        (task) => task["ServiceID"] === job.id && count(mapping(task["Spec"])["ForceUpdate"]) === job.run,
      )
      .map(attemptOf),
  }));
}

function attemptOf(task: Json): SwarmRun {
  const status = mapping(task["Status"]);
  const code = mapping(status["ContainerStatus"])["ExitCode"];
  const error = text(status["Err"]).slice(0, 300);
  return {
    state: text(status["State"]),
    createdAt: time(task["CreatedAt"]),
    changedAt: time(status["Timestamp"]),
    ...(typeof code === "number" && { exitCode: code }),
    ...(error !== "" && { error }),
  };
}

/** Reads the body of a start; undefined if it is anything but a version and a time. */
export function readStart(body: string): StartRun | undefined {
  const value = parseJson(body);
  if (!isMapping(value) || Object.keys(value).length !== 2) return undefined;
  const { version, due } = value;
  return isCount(version) && isTime(due) ? { version, due } : undefined;
}

export function readEnd(body: string): EndRun | undefined {
  const value = parseJson(body);
  if (!isMapping(value) || Object.keys(value).length !== 1) return undefined;
  return isCount(value["version"]) ? { version: value["version"] } : undefined;
}

/** @param service as Docker answers `GET /services/ID` */
export function startRun(service: unknown, { version, due }: StartRun): Respecified {
  const found = jobSpec(service, version);
  if (!found.ok) return found;
  const template = mapping(found.spec["TaskTemplate"]);
  return {
    ok: true,
    spec: {
      ...withReplicas(found.spec, 1),
      Labels: { ...mapping(found.spec["Labels"]), [runLabel]: due },
      TaskTemplate: { ...template, ForceUpdate: count(template["ForceUpdate"]) + 1 },
    },
  };
}

export function endRun(service: unknown, { version }: EndRun): Respecified {
  const found = jobSpec(service, version);
  return found.ok ? { ok: true, spec: withReplicas(found.spec, 0) } : found;
}

function jobSpec(service: unknown, version: number): Respecified {
  const found = unchanged(service, version);
  if (!found.ok) return found;
  if (!isJob(labelsOf({ Spec: found.spec }))) return refuse(403, "the service's labels have no schedule");
  return isMapping(mapping(found.spec["Mode"])["Replicated"])
    ? found
    : refuse(403, "the service is not replicated");
}

const withReplicas = (spec: Json, Replicas: number): Json => ({
  ...spec,
  Mode: { Replicated: { Replicas } },
});
