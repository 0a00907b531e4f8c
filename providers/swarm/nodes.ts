/** Nodes as a manager of their Swarm sees and changes them. */
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { api, sleep, unless } from "../client";
import { replaced } from "../swarm-service/diff";
import { POLL_MS } from "./engine";

export type SwarmRole = "manager" | "worker";

export interface NodeDetails {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Role: SwarmRole; readonly Availability: string };
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
  readonly ManagerStatus?: object;
}

/** The time limit of each step of joining or leaving. */
const STEP_TIMEOUT_MS = 60_000;

/**
 * Waits for a step of joining or leaving.
 *
 * @throws Error if it takes longer than a minute
 */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + STEP_TIMEOUT_MS;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error(`${what} did not happen within ${STEP_TIMEOUT_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

/** A node of the Swarm; undefined if it is none. */
export function nodeOf(manager: Docker, nodeId: string): Promise<NodeDetails | undefined> {
  return unless([404], api<NodeDetails>(manager, "GET", `/nodes/${nodeId}`));
}

/** Changes a node, if it is not so yet and still in the Swarm. */
export async function changeNode(
  manager: Docker,
  nodeId: string,
  change: { Role?: SwarmRole; Availability?: "active" | "pause" | "drain" },
): Promise<void> {
  for (;;) {
    const node = await nodeOf(manager, nodeId);
    if (node === undefined) return;
    if (Object.entries(change).every(([key, value]) => node.Spec[key as keyof typeof node.Spec] === value))
      return;
    try {
      await api(manager, "POST", `/nodes/${nodeId}/update`, {
        query: { version: node.Version.Index },
        body: { ...node.Spec, ...change },
      });
      return;
    } catch (error) {
      // The Swarm changed the node in the meantime.
      if (!/out of sequence/.test(messageOf(error))) throw error;
    }
  }
}

interface TaskDetails {
  readonly ServiceID: string;
  readonly NodeID?: string;
  readonly Status: { readonly State: string };
}

interface ServiceDetails {
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly TaskTemplate: { readonly ForceUpdate?: number } };
}

async function running(manager: Docker): Promise<TaskDetails[]> {
  const query = { filters: { "desired-state": ["running"] } };
  const tasks = await api<TaskDetails[]>(manager, "GET", "/tasks", { query });
  return tasks.filter(({ Status }) => Status.State === "running");
}

/** Moves the node's instances to other nodes, if there are any. */
export async function drain(manager: Docker, nodeId: string): Promise<void> {
  if ((await nodeOf(manager, nodeId))?.Status.State === "ready") {
    // Draining stops instances while it starts others. So first replace, start-first, those of services that run only here.
    await changeNode(manager, nodeId, { Availability: "pause" });
    const tasks = await running(manager);
    const elsewhere = new Set(tasks.filter((task) => task.NodeID !== nodeId).map((task) => task.ServiceID));
    const alone = new Set(tasks.map(({ ServiceID }) => ServiceID).filter((id) => !elsewhere.has(id)));
    for (const id of alone) await roll(manager, id);
    await until(
      "moving",
      async () =>
        !(await running(manager)).some((task) => alone.has(task.ServiceID) && task.NodeID === nodeId),
    ).catch(() => undefined);
  }
  await changeNode(manager, nodeId, { Availability: "drain" });
  await until("draining", async () => !(await running(manager)).some((task) => task.NodeID === nodeId)).catch(
    () => undefined,
  );
}

/** Replaces a service's instances, as an update of the service would. */
async function roll(manager: Docker, serviceId: string): Promise<void> {
  const { Spec, Version } = await api<ServiceDetails>(manager, "GET", `/services/${serviceId}`);
  await api(manager, "POST", `/services/${serviceId}/update`, {
    query: { version: Version.Index },
    body: replaced(Spec),
  });
}
