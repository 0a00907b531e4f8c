/** A Docker Engine has room for one stack, because containers, volumes and ports of all stacks have the same names. */
import { api, connect, dockerCommand, type ConnectOptions } from "./client";
import { withLabel } from "./containers";
import { OWNER_LABEL, ownerOf } from "./owner";

export interface Resident extends ConnectOptions {
  readonly host: string;
  /** The stack. */
  readonly owner?: string;
  /** What the stack was called before. */
  readonly earlierOwners?: readonly string[];
}

/** The owners of the engine's containers. */
async function ownersOn({ host, sshOpts }: Resident): Promise<string[]> {
  // A preview must not wait long for an engine that is down.
  const containers = await withLabel(connect(host, { sshOpts, answerTimeoutMs: 10_000 }), OWNER_LABEL);
  return [...new Set(containers.map(({ Labels }) => Labels[OWNER_LABEL] ?? ""))].sort();
}

async function engineId({ host, sshOpts }: Resident): Promise<string> {
  return (await api<{ ID: string }>(connect(host, { sshOpts }), "GET", "/info")).ID;
}

/** Whether the state of a resource is about the same engine, perhaps by another URL. */
async function sameEngine(olds: Partial<Resident>, news: Resident): Promise<boolean> {
  if (olds.host === undefined || olds.host === news.host) return olds.host !== undefined;
  const old = engineId({ ...olds, host: olds.host }).catch(() => undefined);
  return (await old) === (await engineId(news));
}

/** Owners that a resource with these inputs in its state had before. */
export function earlierOwners(olds: Partial<Resident>, { owner }: Resident): string[] {
  const all = [...(olds.earlierOwners ?? []), ...(olds.owner === undefined ? [] : [olds.owner])];
  return [...new Set(all)].filter((earlier) => earlier !== owner);
}

/**
 * Why the stack cannot be on the engine: another one is, or one of the same name that is not in this state. Undefined if it
 * can.
 *
 * @param olds what the state says; empty if the stack is not on an engine yet
 */
export async function otherStack(olds: Partial<Resident>, news: Resident): Promise<string | undefined> {
  const own = [ownerOf(news), ...(news.earlierOwners ?? [])];
  const owners = await ownersOn(news);
  const other = owners.find((owner) => !own.includes(owner));
  const there = (owner: string) =>
    `the Docker Engine at ${news.host} already runs stack ${JSON.stringify(owner)}`;
  if (other !== undefined) {
    return (
      `${there(other)}, and has room for one: remove that one where it was deployed (script/down), or choose another ` +
      `engine. If it was renamed, or its state is lost, docs/operations.md says how to take over what it runs`
    );
  }
  const [same] = owners;
  if (same === undefined || (await sameEngine(olds, news))) return undefined;
  return (
    `${there(same)}, but this state does not know it: it was deployed from another folder, or with the other engine, or its ` +
    `state is lost. Run script/up there, or script/down; or take over what it runs: ` +
    `${dockerCommand(news, "rm -f rest consul registrator docker-socket-proxy")}, then run this again. Volumes and services stay`
  );
}
