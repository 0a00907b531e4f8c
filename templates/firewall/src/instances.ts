/** What Docker's list of containers says about the instances of Swarm services. Pure. */
import { isIPv4, isIPv6 } from "node:net";
import { isMapping } from "../../../lib/values";

export interface Instances {
  /** The ports on the node that Docker chose for them, in order. */
  readonly ports: Ports;
  /** Their own IPv4 addresses, in order. */
  readonly addresses: readonly string[];
}

/** Separate for IPv4 and IPv6: Docker chooses each port on its own, so the other family's may belong to another container. */
export interface Ports {
  readonly ipv4: readonly number[];
  readonly ipv6: readonly number[];
}

/** The label of Swarm's containers. */
export const SWARM_LABEL = "com.docker.swarm.service.name";
/** Where Docker looks for a port by default. One below was chosen by somebody who wants it open. */
export const FIRST_CHOSEN_PORT = 32_768;

/** No instances at all. */
export const none: Instances = { ports: { ipv4: [], ipv6: [] }, addresses: [] };

/** Reads the answer to `GET /containers/json`. What does not look as it should is left out. */
export function instancesIn(list: unknown): Instances {
  const containers = (Array.isArray(list) ? list : []).filter(isMapping).filter(({ Labels }) => {
    return isMapping(Labels) && Object.hasOwn(Labels, SWARM_LABEL);
  });
  const ports = containers.map(portsOf);
  const addresses = containers
    .flatMap(({ NetworkSettings }) => (isMapping(NetworkSettings) ? [NetworkSettings["Networks"]] : []))
    .flatMap((networks) => (isMapping(networks) ? Object.values(networks) : []))
    .map((network) => (isMapping(network) ? network["IPAddress"] : undefined))
    .filter((address): address is string => typeof address === "string" && isIPv4(address));
  return {
    ports: {
      ipv4: inOrder(ports.flatMap(({ ipv4 }) => ipv4)),
      ipv6: inOrder(ports.flatMap(({ ipv6 }) => ipv6)),
    },
    addresses: [...new Set(addresses)].sort(),
  };
}

function portsOf(container: Readonly<Record<string, unknown>>): Ports {
  const listed = (Array.isArray(container["Ports"]) ? container["Ports"] : []).filter(isMapping);
  const chosen = (isOfFamily: (address: string) => boolean): number[] =>
    listed
      .filter(({ IP }) => typeof IP === "string" && isOfFamily(IP))
      .map(({ PublicPort }) => PublicPort)
      .filter((port): port is number => Number.isInteger(port))
      .filter((port) => port >= FIRST_CHOSEN_PORT && port <= 65_535);
  const ipv4 = chosen(isIPv4);
  const ipv6 = chosen(isIPv6);
  // Until 20.10, Docker lists one port, and its proxy also listens there with IPv6.
  return { ipv4, ipv6: ipv6.length > 0 ? ipv6 : ipv4 };
}

const inOrder = (ports: readonly number[]): number[] => [...new Set(ports)].sort((a, b) => a - b);
