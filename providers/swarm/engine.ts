/** What an engine knows about its Swarm. */
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { api, connect, dockerCommand, sleep, unless, type Engine } from "../client";

/** Pause between two looks at the engine. */
export const POLL_MS = 250;

export interface LocalSwarm {
  readonly NodeID: string;
  readonly LocalNodeState: string;
  readonly ControlAvailable: boolean;
  readonly Error: string;
}

/** Docker creates this network with a Swarm, and keeps it when the engine leaves. */
const GATEWAY_NETWORK = "docker_gwbridge";

/** Swarm label: whether `up` "made" or "kept" the first manager's gateway network. A label survives an interrupted `up`. */
export const GATEWAY_LABEL = "switchyard.gateway-network";

export async function localSwarm(docker: Docker): Promise<LocalSwarm> {
  return (await api<{ Swarm: LocalSwarm }>(docker, "GET", "/info")).Swarm;
}

/**
 * Whether an engine manages this Swarm; undefined if it does not say, for example because it cannot be reached, or starts.
 */
export async function manages(engine: Engine, swarmId: string): Promise<boolean | undefined> {
  try {
    const docker = connect(engine.host, { ...engine, answerTimeoutMs: 5000 });
    const { ControlAvailable, LocalNodeState } = await localSwarm(docker);
    if (ControlAvailable) return (await api<{ ID: string }>(docker, "GET", "/swarm")).ID === swarmId;
    return LocalNodeState === "inactive" || LocalNodeState === "active" ? false : undefined;
  } catch {
    return undefined;
  }
}

/** What an engine outside of its Swarm says is missing may still be there: it may have to join again. */
export async function isManager(docker: Docker): Promise<boolean> {
  return (await localSwarm(docker)).ControlAvailable;
}

export async function hasGatewayNetwork(docker: Docker): Promise<boolean> {
  return (await unless([404], api(docker, "GET", `/networks/${GATEWAY_NETWORK}`))) !== undefined;
}

export async function removeGatewayNetwork(docker: Docker, engine: Engine): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await unless([404], api(docker, "DELETE", `/networks/${GATEWAY_NETWORK}`));
      return;
    } catch (error) {
      // The ingress sandbox releases the network a moment after the engine has left.
      if (attempt >= 40) {
        throw new Error(
          `The network ${GATEWAY_NETWORK} on ${engine.host} is still in use (${messageOf(error)}). ` +
            `Once it is free, remove it: ${dockerCommand(engine, `network rm ${GATEWAY_NETWORK}`)}`,
          { cause: error },
        );
      }
      await sleep(POLL_MS);
    }
  }
}

/** A manager's endpoint, with brackets around an IPv6 address. */
export function managerEndpoint(address: string): string {
  return `${address.includes(":") ? `[${address}]` : address}:2377`;
}
