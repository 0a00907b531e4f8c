import type { Inspect, ServiceOptions } from "./types";

/** Test input for `container`: the relevant parts of `docker inspect`. */
export interface Given {
  readonly name: string;
  readonly image?: string;
  readonly ports?: Readonly<Record<string, string | null>>;
  readonly exposed?: readonly string[];
  readonly env?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly mode?: string;
  readonly hostIp?: string;
  /** Whether ports are also published on all IPv6 addresses; default: true. */
  readonly ipv6?: boolean;
  readonly health?: string;
  readonly networks?: Readonly<Record<string, string>>;
  readonly running?: boolean;
  readonly paused?: boolean;
  readonly stopSignal?: string;
  readonly stopTimeout?: number;
  /** When it was started, and when its health checks that passed began, in milliseconds since 1970. */
  readonly startedAtMs?: number;
  readonly passedAtMs?: readonly number[];
}

export function container(given: Given): Inspect {
  const ports = Object.entries(given.ports ?? {});
  return {
    Id: `id-of-${given.name}`,
    Name: `/${given.name}`,
    State: {
      Running: given.running ?? true,
      Paused: given.paused ?? false,
      ...(given.startedAtMs !== undefined && { StartedAt: new Date(given.startedAtMs).toISOString() }),
      ...(given.health && {
        Health: {
          Status: given.health,
          Log: (given.passedAtMs ?? []).map((at) => ({ Start: new Date(at).toISOString(), ExitCode: 0 })),
        },
      }),
    },
    Config: {
      Image: given.image ?? "image",
      Env: given.env ?? [],
      Labels: given.labels ?? {},
      ExposedPorts: Object.fromEntries((given.exposed ?? ports.map(([key]) => key)).map((key) => [key, {}])),
      ...(given.stopSignal && { StopSignal: given.stopSignal }),
      ...(given.stopTimeout !== undefined && { StopTimeout: given.stopTimeout }),
    },
    HostConfig: { NetworkMode: given.mode ?? "default" },
    NetworkSettings: {
      Ports: Object.fromEntries(
        ports.map(([key, port]) => [
          key,
          port === null
            ? null
            : [
                ...(given.ipv6 === false ? [] : [{ HostIp: "::", HostPort: port }]),
                { HostIp: given.hostIp ?? "0.0.0.0", HostPort: port },
              ],
        ]),
      ),
      Networks: Object.fromEntries(
        Object.entries(given.networks ?? { bridge: "172.17.0.2" }).map(([key, IPAddress]) => [
          key,
          { IPAddress },
        ]),
      ),
    },
  };
}

export const options: ServiceOptions = {
  hostname: "hostname",
  address: "192.168.1.102",
  isOnlyNode: true,
  internal: false,
  explicit: false,
  tags: [],
};
