/** What Docker's list of containers says about the instances of Swarm services. Pure. */
import { isIPv4 } from "node:net";
import { isMapping } from "../../../lib/values";

export interface Instances {
  /** The ports on the node that Docker chose for them, in order. */
  readonly ports: readonly number[];
  /** Their own IPv4 addresses, in order. */
  readonly addresses: readonly string[];
}

/** The label of Swarm's containers. */
export const SWARM_LABEL = "com.docker.swarm.service.name";
/** Where Docker looks for a port by default. One below was chosen by somebody who wants it open. */
export const FIRST_CHOSEN_PORT = 32_768;

/** Reads the answer to `GET /containers/json`. What does not look as it should is left out. */
export function instancesIn(list: unknown): Instances {
  const containers = (Array.isArray(list) ? list : []).filter(isMapping).filter(({ Labels }) => {
    return isMapping(Labels) && Object.hasOwn(Labels, SWARM_LABEL);
  });
  const ports = containers
    .flatMap(({ Ports }) => (Array.isArray(Ports) ? Ports.filter(isMapping) : []))
    .map(({ PublicPort }) => PublicPort)
    .filter((port): port is number => Number.isInteger(port))
    .filter((port) => port >= FIRST_CHOSEN_PORT && port <= 65_535);
  const addresses = containers
    .flatMap(({ NetworkSettings }) => (isMapping(NetworkSettings) ? [NetworkSettings["Networks"]] : []))
    .flatMap((networks) => (isMapping(networks) ? Object.values(networks) : []))
    .map((network) => (isMapping(network) ? network["IPAddress"] : undefined))
    .filter((address): address is string => typeof address === "string" && isIPv4(address));
  return { ports: [...new Set(ports)].sort((a, b) => a - b), addresses: [...new Set(addresses)].sort() };
}
