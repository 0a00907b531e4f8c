/** What one engine knows about its Swarm. */
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { api, sleep, unless } from "../client";

export interface LocalSwarm {
  readonly NodeID: string;
  readonly LocalNodeState: string;
  readonly ControlAvailable: boolean;
  readonly Error: string;
}

/** Docker creates this network with a Swarm, and does not remove it when the engine leaves. */
const GATEWAY_NETWORK = "docker_gwbridge";

/** Label of the Swarm: whether `up` "made" or "kept" the first manager's gateway network. It survives an interrupted `up`. */
export const GATEWAY_LABEL = "switchyard.gateway-network";

export async function localSwarm(docker: Docker): Promise<LocalSwarm> {
  return (await api<{ Swarm: LocalSwarm }>(docker, "GET", "/info")).Swarm;
}

export async function hasGatewayNetwork(docker: Docker): Promise<boolean> {
  return (await unless([404], api(docker, "GET", `/networks/${GATEWAY_NETWORK}`))) !== undefined;
}

export async function removeGatewayNetwork(docker: Docker, host: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await unless([404], api(docker, "DELETE", `/networks/${GATEWAY_NETWORK}`));
      return;
    } catch (error) {
      // The ingress sandbox releases it a moment after the engine has left.
      if (attempt >= 40) {
        throw new Error(
          `The network ${GATEWAY_NETWORK} on ${host} is still in use (${messageOf(error)}). ` +
            `When it is not: docker -H ${host} network rm ${GATEWAY_NETWORK}`,
          { cause: error },
        );
      }
      await sleep(250);
    }
  }
}

/** The endpoint of a manager; an IPv6 address takes brackets. */
export function managerEndpoint(address: string): string {
  return `${address.includes(":") ? `[${address}]` : address}:2377`;
}
