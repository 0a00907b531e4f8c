import { parseAdminCidrs } from "./admin-cidrs";
import type { NodesConfig } from "./target";

/** Who may reach which TCP ports of the machines. Between the nodes everything is open; all else is closed. */
export interface OpenPorts {
  /** For everybody: 80 and 443, if the load balancer takes traffic there. */
  readonly world: readonly number[];
  /** For the administrators' networks only. */
  readonly admin: readonly number[];
  readonly adminCidrs: readonly string[];
}

/** The ports to open on machines on the internet: never those of Consul or of the load balancer's admin page. */
export function openPorts(config: NodesConfig): OpenPorts {
  const { http, https, stats } = config.ports;
  const tcp = config.services.flatMap(({ type, meta }) => (type === "tcp" ? [Number(meta["tcp_port"])] : []));
  const traffic = [http, ...(https === undefined ? [] : [https])];
  const isPublic = (port: number): boolean => port === 80 || port === 443;
  const admin = new Set([22, stats, ...traffic.filter((port) => !isPublic(port)), ...tcp]);
  return {
    world: traffic.filter(isPublic),
    admin: [...admin].sort((a, b) => a - b),
    adminCidrs: parseAdminCidrs(config.adminCidrs),
  };
}
