/** The ports that the infrastructure uses on every node. */
export interface Ports {
  /** HTTP traffic. */
  readonly http: number;
  /** Statistics page, protected by user and password. */
  readonly stats: number;
  /** `/ready`, `/routes`, `/metrics`; on the node itself only. */
  readonly admin: number;
  /** Consul's HTTP API; on the node and its Docker bridge only. */
  readonly consul: number;
  /** Consul's DNS; on the Docker bridge only. */
  readonly dns: number;
  /** The autoscaler's `/status` and `/metrics`; on the node itself only, and only with the autoscaler. */
  readonly autoscaler?: number;
  /** HTTPS; only with certificates. */
  readonly https?: number;
}

/** The ports by configuration key: `{ httpPort: 80 }`. */
export function portKeys(ports: Ports): Record<string, number> {
  return Object.fromEntries(
    Object.entries(ports).map(([name, port]: [string, number]) => [`${name}Port`, port]),
  );
}
