/** Where load balancers reach a container's port. */
import { isIP } from "node:net";
import { hostPort } from "../../../../lib/tcp";
import type { Inspect, PortBinding, ServiceOptions } from "../types";

export interface Port {
  readonly exposed: string;
  readonly protocol: string;
  /** Whether it is a port of the host's network. */
  readonly isHost: boolean;
  /** Where it is published or listens; empty if it does neither. */
  readonly bindings: readonly PortBinding[];
}

export type Endpoint =
  | { readonly address: string; readonly port: number; readonly problem?: undefined }
  | { readonly problem: string };

/** `network`: the container whose addresses apply. */
export function endpointOf(
  container: Inspect,
  port: Port,
  options: ServiceOptions,
  network: Inspect,
): Endpoint {
  const address = options.addressLabel && container.Config?.Labels?.[options.addressLabel]?.split("/")[0];
  if (options.internal) return internal(port, options, network, address);

  // With IPv6, an engine lists a port twice, on some versions with different numbers. Prefers IPv4.
  const bindings = [...port.bindings].sort((a, b) => Number(isIPv6(a)) - Number(isIPv6(b)));
  const [first] = bindings;
  if (address && first) return { address, port: Number(first.HostPort) };
  const reachable = bindings.flatMap(({ HostIp, HostPort }) => {
    const found = reachableAt(HostIp ?? "", options);
    return found === undefined ? [] : [{ address: found, port: Number(HostPort) }];
  });
  const best = reachable.find((each) => each.address === options.address) ?? reachable[0];
  if (best) return best;
  const bound = bindings.map(({ HostIp, HostPort }) => hostPort(HostIp ?? "", HostPort ?? "")).join(" and ");
  return {
    problem: `it is bound to ${bound}, which the load balancers of other nodes cannot reach; bind it to ${options.address} or to all addresses`,
  };
}

function internal(
  port: Port,
  options: ServiceOptions,
  network: Inspect,
  label: string | undefined,
): Endpoint {
  const address = label || internalAddress(options, network);
  const wanted = options.network ? `in network ${options.network}` : "of its own";
  return address ? { address, port: Number(port.exposed) } : { problem: `it has no address ${wanted}` };
}

function internalAddress(options: ServiceOptions, network: Inspect): string | undefined {
  if (network.HostConfig?.NetworkMode === "host") return options.address;
  const networks = network.NetworkSettings?.Networks ?? {};
  const names = options.network ? [options.network] : Object.keys(networks).sort();
  // Swarm's ingress network carries only published ports: containers are not reachable by their addresses in it.
  return names
    .filter((name) => name !== "ingress")
    .map((name) => networks[name]?.IPAddress)
    .find((address) => address);
}

/**
 * The address at which load balancers reach a port that is bound to `bound`; undefined if there is none. It is never
 * another address of the machine, where another container may have the same port. Addresses other than the node's own
 * may also exist on other machines, so only the load balancer of an only node can use them.
 */
function reachableAt(bound: string, { address, isOnlyNode }: ServiceOptions): string | undefined {
  if (bound === "" || bound === address) return address;
  const [other, loopback] = bound === "::" ? [4, "::1"] : [6, "127.0.0.1"];
  if (bound === "0.0.0.0" || bound === "::") {
    if (isIP(address) !== other) return address;
    return isOnlyNode ? loopback : undefined;
  }
  // A link-local IPv6 address is unusable without its interface.
  return isOnlyNode && !/^fe[89ab]/i.test(bound) ? bound : undefined;
}

/**
 * The TCP ports of the machine that Docker has given to the container, so that nobody else can listen there. An empty
 * address means all.
 */
export function publishedBy({ NetworkSettings: settings }: Inspect): { address: string; port: number }[] {
  return Object.entries(settings?.Ports ?? {})
    .filter(([key]) => key.endsWith("/tcp"))
    .flatMap(([, bindings]) => bindings ?? [])
    .map(({ HostIp: bound = "", HostPort: port }) => ({
      address: bound === "0.0.0.0" || bound === "::" ? "" : bound,
      port: Number(port),
    }));
}

const isIPv6 = ({ HostIp }: PortBinding): boolean => HostIp?.includes(":") ?? false;
