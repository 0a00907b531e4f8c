/** Nodes as a manager of their Swarm sees and changes them. */
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { canonical } from "../../lib/values";
import { isJob } from "../../routing/jobs/docker";
import { api, isElection, sleep, unless } from "../client";
import { replaced } from "../swarm-service/diff";
import { endOfRun } from "../swarm-service/job";
import type { ServiceDetails } from "../swarm-service/tasks";
import { POLL_MS } from "./engine";

export type SwarmRole = "manager" | "worker";

export interface NodeDetails {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: {
    readonly Role: SwarmRole;
    readonly Availability: string;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
  readonly ManagerStatus?: object;
}

/** The time limit of each step of joining or leaving. */
const STEP_TIMEOUT_MS = 60_000;

/**
 * Waits for a step of joining or leaving.
 *
 * @throws Error if it takes longer than a minute, or `timeoutMs`
 */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  timeoutMs = STEP_TIMEOUT_MS,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`${what} did not happen within ${timeoutMs / 1000} s`);
    await sleep(POLL_MS);
  }
}

/** Whether the node takes instances. One that is about to leave, or whose machine changes, does not. */
export const takesInstances = ({ Spec, Status }: NodeDetails): boolean =>
  Spec.Availability === "active" && Status.State === "ready";

/** A node of the Swarm; undefined if it is none. */
export function nodeOf(manager: Docker, nodeId: string): Promise<NodeDetails | undefined> {
  return unless([404], api<NodeDetails>(manager, "GET", `/nodes/${nodeId}`));
}

/** Node label: the availability that a drain has given the node. It survives an interrupted run. */
const TURN_LABEL = "switchyard.turn";

/** Whether a drain has taken the node's instances, or begun to. A node whose availability somebody else has changed is not ours. */
export const isTurned = ({ Spec: { Availability, Labels } }: NodeDetails): boolean =>
  Availability !== "active" && Labels?.[TURN_LABEL] === Availability;

/** Changes a node, if it is not so yet and still in the Swarm. */
export async function changeNode(
  manager: Docker,
  nodeId: string,
  change: { Role?: SwarmRole; Availability?: "active" | "pause" | "drain" },
): Promise<void> {
  await inSequence(async () => {
    const node = await nodeOf(manager, nodeId);
    if (node === undefined) return;
    const before = { ...node.Spec, Labels: node.Spec.Labels ?? {} };
    const Labels: Record<string, string> = { ...before.Labels };
    const { Availability } = change;
    if (Availability === "active") Reflect.deleteProperty(Labels, TURN_LABEL);
    else if (Availability !== undefined) Labels[TURN_LABEL] = Availability;
    const body = { ...before, ...change, Labels };
    if (canonical(body) === canonical(before)) return;
    const query = { version: node.Version.Index };
    await api(manager, "POST", `/nodes/${nodeId}/update`, { query, body });
  });
}

interface TaskDetails {
  readonly ServiceID: string;
  readonly NodeID?: string;
  readonly DesiredState: string;
  readonly Status: { readonly State: string; readonly Err?: string };
}

const tasksIn = (manager: Docker): Promise<TaskDetails[]> => api<TaskDetails[]>(manager, "GET", "/tasks");

/** Tasks whose containers run, also those that finish their last requests. */
async function running(manager: Docker): Promise<TaskDetails[]> {
  return (await tasksIn(manager)).filter(({ Status }) => Status.State === "running");
}

/** Services with an instance that no node can run. */
const withoutNode = (tasks: readonly TaskDetails[]): string[] =>
  tasks
    .filter(({ Status }) => Status.State === "pending" && /no suitable node/.test(Status.Err ?? ""))
    .map(({ ServiceID }) => ServiceID);

/** How long Docker lets instances finish: 10 s by default. */
function graceMs(services: readonly ServiceDetails[]): number {
  return Math.max(
    10_000,
    ...services.map(({ Spec }) => (Spec.TaskTemplate.ContainerSpec.StopGracePeriod ?? 0) / 1e6),
  );
}

/** How long the instances of a node may take to start on other nodes, which may have to pull their images first. */
const MOVE_TIMEOUT_MS = 300_000;

/**
 * Moves the node's instances to other nodes, and waits until its own instances and running jobs have ended.
 *
 * @throws Error if an instance that other nodes could run does not start there: the node then has its instances again
 */
export async function drain(manager: Docker, nodeId: string): Promise<void> {
  if ((await nodeOf(manager, nodeId))?.Status.State !== "ready") {
    await changeNode(manager, nodeId, { Availability: "drain" });
    return;
  }
  const services = await api<ServiceDetails[]>(manager, "GET", "/services");
  // Draining stops instances while it starts others. So first replace, start-first, those of services that run only here.
  await pauseWhile(manager, nodeId, async () => {
    await endRuns(manager, nodeId, services);
    await moveSoleInstances(manager, nodeId, services);
  });
  await changeNode(manager, nodeId, { Availability: "drain" });
  // One that goes on after its grace period is killed with the machine.
  await until(
    "draining",
    async () => !(await running(manager)).some(({ NodeID }) => NodeID === nodeId),
    STEP_TIMEOUT_MS + graceMs(services),
  ).catch(() => undefined);
}

/** Keeps new instances off the node, whose own could go nowhere, and waits until running jobs have ended. */
export async function pause(manager: Docker, nodeId: string): Promise<void> {
  if ((await nodeOf(manager, nodeId))?.Status.State !== "ready") return;
  const services = await api<ServiceDetails[]>(manager, "GET", "/services");
  await pauseWhile(manager, nodeId, () => endRuns(manager, nodeId, services));
}

/** Pauses the node. It is active again if the work fails. */
async function pauseWhile(manager: Docker, nodeId: string, work: () => Promise<void>): Promise<void> {
  await changeNode(manager, nodeId, { Availability: "pause" });
  try {
    await work();
  } catch (error) {
    await changeNode(manager, nodeId, { Availability: "active" });
    throw error;
  }
}

const isRun = ({ Spec }: ServiceDetails): boolean => isJob(Spec.Labels ?? {});

/** Waits for the jobs that run on the node. Moving one would start its run over. */
async function endRuns(manager: Docker, nodeId: string, services: readonly ServiceDetails[]): Promise<void> {
  for (const { NodeID, ServiceID } of await running(manager)) {
    const job = services.find((each) => each.ID === ServiceID && isRun(each));
    if (NodeID === nodeId && job !== undefined) await endOfRun(manager, job);
  }
}

/** Replaces the instances of services that run only on the node, which is paused, by those on other nodes. */
async function moveSoleInstances(
  manager: Docker,
  nodeId: string,
  services: readonly ServiceDetails[],
): Promise<void> {
  const tasks = (await running(manager)).filter(({ DesiredState }) => DesiredState === "running");
  const elsewhere = await servicesThatStay(
    manager,
    tasks.filter(({ NodeID }) => NodeID !== nodeId),
  );
  // An instance of a global service belongs to its node.
  const staying = services.filter((each) => isRun(each) || each.Spec.Mode.Global !== undefined);
  const moving = new Set(tasks.map(({ ServiceID }) => ServiceID));
  for (const id of [...elsewhere, ...staying.map(({ ID }) => ID)]) moving.delete(id);
  for (const id of moving) await roll(manager, id);
  const nameOf = (id: string) => services.find(({ ID }) => ID === id)?.Spec.Name ?? id;
  await until(
    `the start of ${[...moving].map(nameOf).join(", ")} on another node`,
    async () => {
      const now = await tasksIn(manager);
      const stays = withoutNode(now);
      const left = now
        .filter(({ NodeID, Status }) => NodeID === nodeId && Status.State === "running")
        .map(({ ServiceID }) => ServiceID);
      return left.every((id) => !moving.has(id) || stays.includes(id));
    },
    MOVE_TIMEOUT_MS + graceMs(services),
  );
}

/** The services of these instances, but for instances on nodes that leave as well, even at the same time: those are paused, too. */
async function servicesThatStay(manager: Docker, tasks: readonly TaskDetails[]): Promise<string[]> {
  const ids = [...new Set(tasks.map(({ NodeID = "" }) => NodeID))];
  const nodes = await Promise.all(ids.map((id) => nodeOf(manager, id)));
  const staying = nodes.flatMap((node) => (node !== undefined && takesInstances(node) ? [node.ID] : []));
  return tasks.filter(({ NodeID = "" }) => staying.includes(NodeID)).map(({ ServiceID }) => ServiceID);
}

/** Replaces a service's instances, as an update of the service would. */
async function roll(manager: Docker, serviceId: string): Promise<void> {
  await inSequence(async () => {
    const { Spec, Version } = await api<ServiceDetails>(manager, "GET", `/services/${serviceId}`);
    await api(manager, "POST", `/services/${serviceId}/update`, {
      query: { version: Version.Index },
      body: replaced(Spec),
    });
  });
}

/** Repeats a change that fails because the Swarm has changed the same thing in the meantime, or elects a leader. */
async function inSequence(change: () => Promise<void>): Promise<void> {
  for (const deadlineMs = Date.now() + STEP_TIMEOUT_MS; ;) {
    try {
      await change();
      return;
    } catch (error) {
      const isPassing = isElection(error) || /out of sequence/.test(messageOf(error));
      if (!isPassing || Date.now() > deadlineMs) throw error;
      await sleep(POLL_MS);
    }
  }
}
