/**
 * Ports of containers on the host's network. An image EXPOSEs them whether the program listens there or not, and another
 * container may: a port counts only while somebody listens on it, and less if the container ran without using it.
 */
import { nameOf, noticesOf, startMs, type ServicesOf } from "./services";
import type { Inspect, Service, ServiceOptions } from "../types";

export interface HostPorts {
  /** Where programs listen on the TCP ports that the container exposes. */
  readonly listening: ReadonlyMap<number, readonly string[]>;
  /** Those that it did not use for a while after its start, with the time since when somebody does. */
  readonly unused: ReadonlyMap<number, number | undefined>;
  /** When to look again even if nothing changes; 0: never. */
  readonly untilMs: number;
}

/** How long a program may take until it listens, before that is reported. */
const startsWithinMs = 10_000;
/** How long somebody must listen on an unused port before it counts, so that a container that has just started comes first. */
const settleMs = 3_000;

/** Leaves out services on the host's network that cannot be the container's own. `before`: the last result's `host`. */
export function withHostPorts(
  found: ServicesOf,
  container: Inspect,
  options: ServiceOptions,
  before: HostPorts | undefined,
  nowMs = Date.now(),
): ServicesOf & { readonly host: HostPorts | undefined } {
  const isHost = ({ claim }: Service) => claim.by === "host" && claim.protocol === "tcp";
  const { hostPorts: listening } = found;
  if (listening.size === 0) return { ...found, host: undefined };
  const used = [...listening.keys()].filter((port) => (listening.get(port) ?? []).length > 0);
  const idle = [...listening.keys()].filter((port) => !used.includes(port));

  const startedMs = startMs(container) + startsWithinMs;
  const isStarting = nowMs < startedMs && idle.length > 0;
  const unused = new Map<number, number | undefined>();
  for (const port of used) if (before?.unused.has(port)) unused.set(port, before.unused.get(port) ?? nowMs);
  for (const port of idle) if (!isStarting || before?.unused.has(port)) unused.set(port, undefined);

  const reported = isStarting ? [] : idle.flatMap((port) => report(container, port, options));

  const settledMs = (port: number) => (unused.get(port) ?? -Infinity) + settleMs;
  const settling = used.map(settledMs).filter((each) => each > nowMs);
  return {
    services: found.services
      .filter((service) => !isHost(service) || settledMs(service.registration.Port) <= nowMs)
      .map((service) =>
        isHost(service) && unused.has(service.registration.Port)
          ? { ...service, claim: { ...service.claim, wasUnused: true } }
          : service,
      ),
    problems: [...found.problems, ...reported.map(({ problem }) => problem)],
    notices: [...found.notices, ...reported.flatMap(({ notices }) => notices)],
    hostPorts: listening,
    host: { listening, unused, untilMs: Math.max(0, isStarting ? startedMs : 0, ...settling) },
  };
}

/** A port on which nothing listens; none if the container does not ask to be registered. */
function report(container: Inspect, port: number, options: ServiceOptions) {
  const why =
    `it uses the host's network, where nothing listens on port ${port}; EXPOSE the port that the program uses ` +
    `(--expose PORT), and set SERVICE_${port}_IGNORE=true`;
  const notices = noticesOf(container, { exposed: String(port), protocol: "tcp" }, why, options);
  const problem = `container ${nameOf(container)}, port ${port}: not registered: ${why}`;
  return notices === undefined ? [] : [{ problem, notices }];
}
