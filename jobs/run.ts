/** Runs a job now, on a manager of the stack's Swarm. */
import type { Readable, Writable } from "node:stream";
import type Docker from "dockerode";
import { messageOf, UserError } from "../lib/errors";
import { resourcesIn } from "../lib/engine-state";
import { isMapping } from "../lib/values";
import { api, connect, sleep } from "../providers/client";
import { findService, tasksOf, type Task } from "../providers/swarm-service/tasks";
import { replaced } from "../providers/swarm-service/diff";
import { endedStates, isHeld, isJob, settledMs } from "../routing/jobs/docker";
import { escapeLines } from "../lib/text";

/** A service of the stack, as it is deployed. */
export interface Deployed {
  /** As in the stack file. */
  readonly name: string;
  readonly swarmName: string;
  /** A manager of the Swarm. */
  readonly host: string;
  readonly sshOpts?: readonly string[];
}

/**
 * Finds a job in the state of either engine.
 *
 * @throws UserError if there is none of that name
 */
export function findJob(state: string, name: string): Deployed {
  const services = resourcesIn(state)
    .filter(({ type }) => /:SwarmService$/.test(String(type)))
    .map(({ urn, inputs }) => ({
      ...(inputs as { name: string; host: string; sshOpts?: readonly string[] }),
      resource: String(urn).split("::").slice(3).join("::"),
      labels: (inputs as { serviceLabels?: unknown }).serviceLabels,
    }));
  const found = services.find((each) => each.resource === name || each.name === name);
  const hasSchedule = (labels: unknown): boolean =>
    isMapping(labels) && isJob(labels as Readonly<Record<string, string>>);
  if (found === undefined || !hasSchedule(found.labels)) {
    const jobs = services.filter(({ labels }) => hasSchedule(labels)).map(({ resource }) => resource);
    const problem = found === undefined ? `There is no service ${name}` : `${name} has no schedule`;
    const cure =
      jobs.length === 0 ? "give a service a schedule, and run script/up" : `name one of ${jobs.join(", ")}`;
    throw new UserError(`${problem} in the deployed stack: ${cure}`);
  }
  const { resource, name: swarmName, host, sshOpts } = found;
  return { name: resource, swarmName, host, ...(sshOpts && { sshOpts }) };
}

const pollMs = 300;
/** The last lines may come after the end of the run. */
const quietMs = 1_000;

/**
 * Starts a run, and shows its log until it ends.
 *
 * @returns its exit code; 1 if it has none
 * @throws UserError if it cannot be started
 */
export async function runJob(
  { name, swarmName, host, sshOpts }: Deployed,
  output: Writable,
  errors: Writable,
): Promise<number> {
  const docker = connect(host, { answerTimeoutMs: 0, ...(sshOpts && { sshOpts }) });
  const service = await findService(docker, swarmName);
  if (service === undefined || !isJob(service.Spec.Labels ?? {}))
    throw new UserError(`${name} is not deployed as a job any more: run script/up`);
  const before = await tasksOf(docker, service.ID);
  if (before.some(({ Status }) => !endedStates.includes(Status.State)))
    throw new UserError(`${name} is running already; docker service logs -f ${swarmName} shows its log`);
  if (isHeld(service.Spec.Labels ?? {}, Date.now()))
    throw new UserError(
      `script/restore is exchanging the data that ${name} uses: try again when it has ended`,
    );
  const body = { ...replaced(service.Spec), Mode: { Replicated: { Replicas: 1 } } };
  const { ForceUpdate: number = 0, RestartPolicy } = body.TaskTemplate;
  try {
    await api(docker, "POST", `/services/${service.ID}/update`, {
      query: { version: service.Version.Index },
      body,
    });
  } catch (error) {
    if (!/out of sequence/.test(messageOf(error))) throw error;
    throw new UserError(`${name} has just been started or changed by somebody else: try again`);
  }
  const log = await follow(docker, service.ID, before, output, errors);
  const last = await ended(docker, service.ID, number, RestartPolicy?.Condition !== "none");
  await log.finish();
  const { State, Err, ContainerStatus } = last?.Status ?? { State: "removed" };
  const exitCode = State === "complete" ? 0 : (ContainerStatus?.ExitCode ?? 0);
  const how = State === "complete" ? "has succeeded" : `has not succeeded: ${escapeLines(Err ?? State)}`;
  errors.write(`${name} ${how}\n`);
  return State === "complete" ? 0 : exitCode > 0 && exitCode < 256 ? exitCode : 1;
}

/** The last attempt of a run that is over; undefined if somebody has ended it. */
async function ended(
  docker: Docker,
  id: string,
  number: number,
  retries: boolean,
): Promise<Task | undefined> {
  let isSeen = false;
  for (;;) {
    const tasks = (await tasksOf(docker, id)).filter(({ Spec }) => Spec.ForceUpdate === number);
    const [last] = tasks.sort((a, b) => ((a.CreatedAt ?? "") > (b.CreatedAt ?? "") ? -1 : 1));
    if (last === undefined && isSeen) return undefined;
    isSeen ||= last !== undefined;
    const isOver = last !== undefined && tasks.every(({ Status }) => endedStates.includes(Status.State));
    const isSettled = last?.Status.State === "complete" || !retries || sinceMs(last) > settledMs;
    if (isOver && isSettled) return last;
    await sleep(pollMs);
  }
}

const sinceMs = (task: Task | undefined): number => Date.now() - Date.parse(task?.Status.Timestamp ?? "");

/** Shows what new tasks of a service write, as it comes. */
async function follow(
  docker: Docker,
  id: string,
  before: readonly Task[],
  output: Writable,
  errors: Writable,
): Promise<{ finish(): Promise<void> }> {
  // Of earlier tasks, only the end is in their way.
  const ends = before.map(({ Status }) => Math.ceil(Date.parse(Status.Timestamp ?? "") / 1_000) || 0);
  const since = Math.max(0, ...ends);
  try {
    const logs = docker.getService(id).logs({ stdout: true, stderr: true, follow: true, since });
    const stream = (await logs) as unknown as Readable;
    let lastMs = Date.now();
    stream.on("data", () => (lastMs = Date.now()));
    stream.on("error", () => undefined);
    (docker.modem as { demuxStream(from: Readable, to: Writable, errors: Writable): void }).demuxStream(
      stream,
      output,
      errors,
    );
    return {
      finish: async () => {
        const endMs = Date.now();
        while (Date.now() - Math.max(lastMs, endMs) < quietMs) await sleep(pollMs);
        stream.destroy();
      },
    };
  } catch (error) {
    errors.write(`The log cannot be shown: ${messageOf(error)}\n`);
    return { finish: () => Promise.resolve() };
  }
}
