/**
 * Ports of containers on the host's network. An image EXPOSEs them whether the program listens there or not, and another
 * container may: a port counts only while somebody listens on it, and less if the container ran without using it.
 */
import { nameOf, noticesOf, startMs, type ServicesOf } from "./services";
import type { Inspect, Service, ServiceOptions } from "../types";

export interface HostPorts {
  /** Where programs listen on the TCP ports that the container exposes. */
  readonly listening: ReadonlyMap<number, readonly string[]>;
  /** Since when somebody has listened on a port, where somebody does; 0: long enough. */
  readonly since: ReadonlyMap<number, number>;
  /** Those that it did not use for a while after its start. */
  readonly unused: ReadonlySet<number>;
  /** The containers that publish its ports, one for each port that is exposed. */
  readonly publishers: readonly (string | undefined)[];
  /** When to look again even if nothing changes; 0: never. */
  readonly untilMs: number;
}

/** How long a program may take until it listens, before that is reported. */
const startsWithinMs = 10_000;
/**
 * How long somebody must listen on a port before it counts. Docker binds the ports of a container before it has started it.
 * An unused port takes longer, so that a container that has just started comes first.
 */
const settleMs = { ordinary: 1_000, unused: 3_000 };

/**
 * Leaves out services on the host's network that cannot be the container's own, and withholds those that are not settled.
 *
 * @param before the last result's `host`
 * @param isStarting whether Docker is starting a container, so that a new listener may be that one's
 */
export function withHostPorts(
  found: ServicesOf,
  container: Inspect,
  options: ServiceOptions,
  before: HostPorts | undefined,
  isStarting: boolean,
  nowMs = Date.now(),
): ServicesOf & { readonly withheld: readonly Service[]; readonly host: HostPorts | undefined } {
  const isHost = ({ claim }: Service) => claim.by === "host" && claim.protocol === "tcp";
  const { hostPorts: listening } = found;
  if (listening.size === 0) return { ...found, withheld: [], host: undefined };
  const used = [...listening.keys()].filter((port) => (listening.get(port) ?? []).length > 0);
  const idle = [...listening.keys()].filter((port) => !used.includes(port));

  const startedMs = startMs(container) + startsWithinMs;
  const mayStart = nowMs < startedMs && idle.length > 0;
  const unused = new Set([
    ...used.filter((port) => before?.unused.has(port)),
    ...idle.filter((port) => !mayStart || before?.unused.has(port)),
  ]);
  const waitMs = (port: number) => (unused.has(port) ? settleMs.unused : settleMs.ordinary);
  // Nobody has watched a container that was there before Registrator was.
  const firstMs = before === undefined && !(nowMs < startedMs) ? 0 : nowMs;
  const since = new Map(
    used.map((port) => {
      const sinceMs = before?.since.get(port) ?? firstMs;
      if (sinceMs > 0 && isStarting) return [port, nowMs];
      return [port, nowMs >= sinceMs + waitMs(port) ? 0 : sinceMs];
    }),
  );
  const settling = [...since].filter(([, sinceMs]) => sinceMs > 0);

  const publishers = [...listening.keys()].map((port) => options.publisherOf?.(port));
  const reported = idle
    .filter((port) => !mayStart || options.publisherOf?.(port) !== undefined)
    .flatMap((port) => report(container, port, options));
  const isUnsettled = (service: Service) =>
    isHost(service) && settling.some(([port]) => port === service.registration.Port);
  const services = found.services.map((service) =>
    isHost(service) && unused.has(service.registration.Port)
      ? { ...service, claim: { ...service.claim, wasUnused: true } }
      : service,
  );
  return {
    services: services.filter((service) => !isUnsettled(service)),
    withheld: services.filter(isUnsettled),
    problems: [...found.problems, ...reported.map(({ problem }) => problem)],
    notices: [...found.notices, ...reported.flatMap(({ notices }) => notices)],
    hostPorts: listening,
    host: {
      listening,
      since,
      unused,
      publishers,
      untilMs: Math.max(
        0,
        mayStart ? startedMs : 0,
        ...settling.map(([port, sinceMs]) => sinceMs + waitMs(port)),
      ),
    },
  };
}

/** The same after the container that had some of its ports has gone: whoever listens there now has to settle first. */
export function withoutRival(host: HostPorts, ports: Iterable<number>, nowMs = Date.now()): HostPorts {
  const since = new Map(host.since);
  for (const port of ports) if (since.has(port)) since.set(port, nowMs);
  return { ...host, since };
}

/** A port on which the container does not listen; none if the container does not ask to be registered. */
function report(container: Inspect, port: number, options: ServiceOptions) {
  const publisher = options.publisherOf?.(port);
  const taken =
    publisher === undefined
      ? `nothing listens on port ${port}`
      : `container ${publisher} publishes port ${port}`;
  const why =
    `it uses the host's network, where ${taken}; EXPOSE the port that the program uses ` +
    `(--expose PORT), and set SERVICE_${port}_IGNORE=true`;
  const notices = noticesOf(container, { exposed: String(port), protocol: "tcp" }, why, options);
  const problem = `container ${nameOf(container)}, port ${port}: not registered: ${why}`;
  return notices === undefined ? [] : [{ problem, notices }];
}
