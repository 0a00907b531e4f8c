/** Waits for Swarm's background work, and explains failures with Docker's own messages. */
import type Docker from "dockerode";
import { loginPlaces } from "../../lib/images";
import { endedStates } from "../../routing/jobs/docker";
import { api, sleep, textOf, unless } from "../client";
import { meaningOf } from "./diff";
import type { ServiceSpec, TaskSpec } from "./spec";
import { escapeLines } from "../../lib/text";

/** A service as the engine reports it. */
export interface ServiceDetails {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: ServiceSpec;
  readonly UpdateStatus?: { readonly State?: string; readonly Message?: string };
}

export interface Task {
  readonly ID: string;
  readonly ServiceID: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly CreatedAt?: string;
  readonly DesiredState: string;
  readonly Spec: TaskSpec;
  readonly Status: {
    readonly State: string;
    /** When it got into this state. */
    readonly Timestamp?: string;
    readonly Err?: string;
    readonly ContainerStatus?: { readonly ContainerID?: string; readonly ExitCode?: number };
  };
}

const POLL_MS = 200;
/** How long to wait for the log of a failed instance. */
const LOG_TIMEOUT_MS = 5000;
const FAILED = ["failed", "rejected"];

export function findService(docker: Docker, nameOrId: string): Promise<ServiceDetails | undefined> {
  // 503: the engine manages no Swarm, for example because it has to join again.
  return unless([404, 503], api<ServiceDetails>(docker, "GET", `/services/${encodeURIComponent(nameOrId)}`));
}

export function tasksOf(docker: Docker, serviceId: string): Promise<Task[]> {
  return api<Task[]>(docker, "GET", "/tasks", { query: { filters: { service: [serviceId] } } });
}

/** Whether a task has the service's definition. The API reports neither its restart policy nor all of its placement. */
function isOf(task: Task, spec: ServiceSpec): boolean {
  const partsOf = ({ ContainerSpec, Resources, Networks }: TaskSpec) => [ContainerSpec, Resources, Networks];
  return meaningOf(partsOf(task.Spec)) === meaningOf(partsOf(spec.TaskTemplate));
}

export interface Settling {
  readonly timeoutSeconds: number;
  /** How long instances that were told to stop may finish their requests, in addition. Default: 0. */
  readonly graceSeconds?: number;
  /** Whether the change replaces instances rather than only changing their number. */
  readonly rolling: boolean;
  /** The tasks from before the change. Their failures are ignored. */
  readonly before: readonly Task[];
  /** The number of instances that suffices, where those beyond it may wait for room. Default: all. */
  readonly least?: number | undefined;
  /** How long they must run without a change. Default: 0. */
  readonly steadySeconds?: number;
}

/**
 * Waits until exactly the wanted instances run, the others have ended, and Swarm has finished monitoring a rolling update.
 * (With a health check, Swarm reports an instance as running once it is healthy.) The timeout restarts with every progress,
 * so many instances may take longer than few.
 */
export async function settle(
  docker: Docker,
  serviceId: string,
  { timeoutSeconds, graceSeconds = 0, rolling, before, least = Infinity, steadySeconds = 0 }: Settling,
): Promise<void> {
  // Swarm announces a rolling update after a moment, or never, if it does not need one.
  const announcedByMs = Date.now() + (rolling ? 3000 : 0);
  const older = before.map((task) => task.ID);
  const failures = new Map<string, Task>();
  let story: string | undefined;
  let progressBefore = "";
  let progressAtMs = 0;
  for (;;) {
    const now = await findService(docker, serviceId);
    if (now === undefined)
      throw new Error(`Service ${serviceId} was removed from outside while it was starting`);
    const tasks = await tasksOf(docker, serviceId);
    const name = now.Spec.Name;
    // Swarm makes one task for each node that fits a global service, at once.
    const wanted =
      now.Spec.Mode.Global === undefined
        ? (now.Spec.Mode.Replicated?.Replicas ?? 0)
        : Math.max(1, tasks.filter(({ DesiredState }) => DesiredState === "running").length);
    const running = tasks.filter(
      (task) => task.DesiredState === "running" && task.Status.State === "running",
    );
    const fresh = running.filter((task) => isOf(task, now.Spec));
    const leaving = tasks.filter(
      (task) => !["running", "ready"].includes(task.DesiredState) && !endedStates.includes(task.Status.State),
    );
    const status = now.UpdateStatus?.State ?? "completed";
    const progress = meaningOf([status, fresh.map((task) => task.ID).sort(), leaving.length]);
    if (progress !== progressBefore) progressAtMs = Date.now();
    progressBefore = progress;
    const sameSeconds = (Date.now() - progressAtMs) / 1000;
    const announced = now.UpdateStatus?.State !== undefined || Date.now() > announcedByMs;
    if (
      announced &&
      status === "completed" &&
      fresh.length === running.length &&
      running.length >= Math.min(wanted, rolling ? Infinity : least) &&
      running.length <= wanted &&
      leaving.length === 0 &&
      sameSeconds >= steadySeconds
    ) {
      return;
    }
    for (const task of tasks) {
      if (!FAILED.includes(task.Status.State) || older.includes(task.ID) || failures.has(task.ID)) continue;
      failures.set(task.ID, task);
      // Ask immediately: Swarm soon removes the failed instance.
      story = await explain(docker, task);
    }
    const why = () => story ?? explainWaiting(docker, tasks);
    if (status === "paused" || status === "rollback_paused" || status === "rollback_completed") {
      const outcome =
        status === "rollback_completed"
          ? "was rolled back; the previous instances keep serving"
          : `stopped partway ("${now.UpdateStatus?.Message ?? status}")`;
      throw new Error(`The update of service ${name} ${outcome}. ${await why()}`);
    }
    const hopeless = hopelessness([...failures.values()]);
    if (status === "completed" && hopeless !== undefined)
      throw new Error(`Service ${name} ${hopeless}. ${await why()}`);
    if (sameSeconds > timeoutSeconds + steadySeconds + (leaving.length > 0 ? graceSeconds : 0)) {
      throw new Error(
        `Service ${name}: ${fresh.length} of ${wanted} instances are ready, without progress for ${timeoutSeconds} s. ` +
          (await why()),
      );
    }
    await sleep(POLL_MS);
  }
}

/**
 * Why waiting is of no use. A missing image is final. Any other failure may depend on another service, so each instance gets three
 * attempts.
 */
function hopelessness(failures: readonly Task[]): string | undefined {
  if (failures.some(({ Status }) => isMissingImage(Status.Err))) return "does not start";
  const failing = failures
    .map(({ Slot: slot }) => failures.filter(({ Slot }) => Slot === slot))
    .find(({ length }) => length >= 3);
  if (failing === undefined) return undefined;
  // Other failures are of Docker, such as a missing program, or of the health check.
  return failing.every(({ Status }) => /^task: non-zero exit \(\d+\)$/.test(Status.Err ?? ""))
    ? "keeps exiting: if it depends on another service, list that service in depends_on"
    : "does not start";
}

const isMissingImage = (error = ""): boolean => /no such image/i.test(error);

async function explainWaiting(docker: Docker, tasks: readonly Task[]): Promise<string> {
  const task = tasks.find(
    ({ DesiredState, Status }) => DesiredState === "running" && Status.State !== "running",
  );
  return task === undefined ? "Docker gives no reason; see: docker service ps" : explain(docker, task);
}

/** Docker's reason, the last output of the health check, and the last lines of the log. */
export async function explain(docker: Docker, task: Task): Promise<string> {
  const { Err } = task.Status;
  // Swarm does not tell a wrong login from a wrong name.
  const cure = isMissingImage(Err)
    ? ` (check its name and, if it is private, ${loginPlaces(task.Spec.ContainerSpec.Image)})`
    : "";
  const reason = Err === undefined ? `it is still ${task.Status.State}` : `${escapeLines(Err)}${cure}`;
  const parts = [`Instance ${task.Slot ?? 0} (task ${task.ID}): ${reason}`];
  const container = task.Status.ContainerStatus?.ContainerID;
  if (container !== undefined && container !== "") {
    const health = await lastHealthOutput(docker, container);
    if (health !== "") parts.push(`Output of its health check: ${health}`);
    const log = await lastLines(docker, task.ID);
    if (log !== "") parts.push(`Its last log lines:\n${log}`);
  }
  return parts.join("\n");
}

interface Health {
  readonly State: { readonly Health?: { readonly Log?: readonly { ExitCode: number; Output: string }[] } };
}

async function lastHealthOutput(docker: Docker, container: string): Promise<string> {
  try {
    // Only works on the node that runs the container; elsewhere Docker's message must suffice.
    const { State } = await api<Health>(docker, "GET", `/containers/${container}/json`);
    const bad = State.Health?.Log?.filter((entry) => entry.ExitCode !== 0).at(-1);
    return bad === undefined ? "" : escapeLines(bad.Output).trim().slice(-500) || `exit code ${bad.ExitCode}`;
  } catch {
    return "";
  }
}

export async function lastLines(docker: Docker, taskId: string): Promise<string> {
  try {
    const query = { stdout: true, stderr: true, tail: 10 };
    // A log that cannot be read (another log driver, a node that is down) must not hide the actual failure.
    const bytes = await Promise.race([
      api<Buffer>(docker, "GET", `/tasks/${taskId}/logs`, { query }),
      sleep(LOG_TIMEOUT_MS),
    ]);
    return Buffer.isBuffer(bytes) ? linesOf(bytes) : "";
  } catch {
    return "";
  }
}

/** The last lines of a log stream, indented. */
export function linesOf(stream: Buffer): string {
  return escapeLines(textOf(stream))
    .trimEnd()
    .split("\n")
    .slice(-10)
    .map((line) => `  ${line.slice(0, 300)}`)
    .join("\n")
    .trimEnd();
}

/**
 * Waits until nothing is left of a removed service: no task in the Swarm, no container on this engine. After the timeout it
 * returns without an error, because the service itself is gone: a node that is down keeps its tasks.
 */
export async function vanish(docker: Docker, serviceId: string, timeoutSeconds: number): Promise<void> {
  const deadlineMs = Date.now() + timeoutSeconds * 1000;
  const query = { all: true, filters: { label: [`com.docker.swarm.service.id=${serviceId}`] } };
  for (;;) {
    // Docker cannot filter tasks by a service that no longer exists.
    const tasks = (await unless([503], api<Task[]>(docker, "GET", "/tasks"))) ?? [];
    const containers = await api<unknown[]>(docker, "GET", "/containers/json", { query });
    const left = tasks.filter((task) => task.ServiceID === serviceId).length + containers.length;
    if (left === 0 || Date.now() > deadlineMs) return;
    await sleep(POLL_MS);
  }
}
