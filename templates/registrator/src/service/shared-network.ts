/** Containers that share the network of another one: `--network container:OWNER`. */
import { nameOf, startMs } from "./services";
import type { Inspect } from "../types";

/** Name or ID of the container whose network this one shares; undefined if it shares none. */
export function networkOwnerOf(container: Inspect): string | undefined {
  return /^container:(.+)$/.exec(container.HostConfig?.NetworkMode ?? "")?.[1];
}

/** Docker allows chains of any length. */
const maxOwners = 8;

/** The container's network owner, that one's own, and so on; ends with one that owns its network or does not exist. */
export async function networkOwnersOf(
  container: Inspect,
  inspect: (id: string) => Promise<Inspect | undefined>,
): Promise<readonly Inspect[]> {
  const owners: Inspect[] = [];
  let id = networkOwnerOf(container);
  while (id !== undefined && owners.length < maxOwners) {
    const owner = await inspect(id);
    if (!owner) break;
    owners.push(owner);
    id = networkOwnerOf(owner);
  }
  return owners;
}

/**
 * Why the published ports of its network's owner do not lead to the container; undefined if they do. An owner that starts
 * again gets a new network, and containers that joined before stay in the former one, which nothing reaches.
 */
export function problemWithNetwork(container: Inspect, owners: readonly Inspect[]): string | undefined {
  let member = container;
  for (const owner of owners) {
    const name = nameOf(owner);
    if (!owner.State?.Running || owner.State.Restarting)
      return `container ${name}, whose network it shares, does not run; restart both`;
    if (startMs(owner) > startMs(member))
      return `container ${name}, whose network it shares, was started after it and has a new network; restart this one too`;
    member = owner;
  }
  return networkOwnerOf(member) === undefined
    ? undefined
    : "the container whose network it shares does not exist any more; create this one again";
}
