import { requireAdminCidrs } from "./admin-cidrs";
import type { NodesConfig } from "./target";

/** Which TCP ports of the machines are open to whom. Nodes may reach all ports of each other; all else is closed. */
export interface OpenPorts {
  /** To everyone: 80 and 443, if the load balancer listens there. */
  readonly world: readonly number[];
  /** Only to the administrators' networks. */
  readonly admin: readonly number[];
  readonly adminCidrs: readonly string[];
}

/** The ports to open on machines on the internet: never Consul's, nor the load balancer's admin port. */
export function openPorts(config: NodesConfig): OpenPorts {
  const { http, https, stats } = config.ports;
  const tcp = config.services.flatMap(({ type, meta }) => (type === "tcp" ? [Number(meta["tcp_port"])] : []));
  const traffic = [http, ...(https === undefined ? [] : [https])];
  const isPublic = (port: number): boolean => port === 80 || port === 443;
  const admin = new Set([22, stats, ...traffic.filter((port) => !isPublic(port)), ...tcp]);
  return {
    world: traffic.filter(isPublic),
    admin: [...admin].sort((a, b) => a - b),
    adminCidrs: requireAdminCidrs(config.adminCidrs),
  };
}
