/**
 * Instances that leave while a worker is started or replaced, which takes seconds on a busy machine. Neither the worker that
 * serves nor the next one may send them new requests, because another service may get their addresses. The next turn does the rest.
 */
import type { Routing } from "../../../../routing/types";
import { originAt } from "../config/backend-pool";
import type { Origin } from "../config/types";
import type { ServerState } from "../haproxy/commands";
import type { Runtime } from "../haproxy/runtime-api";
import type { Actual, ServerOperation } from "../haproxy/types";
import { serverOf } from "../health/readiness-prober";
import { backendsAfter } from "./planner";

export class Departures {
  private open = false;
  /** What the routing has become since the worker that starts was configured. */
  private routing: Routing | undefined;

  constructor(private readonly runtime: Pick<Runtime, "apply" | "states">) {}

  /** Whether a worker is being started or replaced. */
  get isOpen(): boolean {
    return this.open;
  }

  /** Runs what starts or replaces a worker. */
  during<T>(action: () => Promise<T>): Promise<T> {
    this.open = true;
    return action().finally(() => {
      this.open = false;
      this.routing = undefined;
    });
  }

  /** The routing has changed. `actual`: what the worker that serves has, if known. */
  async note(routing: Routing, actual: Actual | undefined): Promise<void> {
    if (!this.open) return;
    this.routing = routing;
    const servers =
      actual === undefined ? inheritedFrom(await this.runtime.states().catch(() => [])) : servingIn(actual);
    await this.leave(routing, servers);
  }

  /** The worker that serves, and has these servers, sends nothing new to those that the routing does not have. */
  async leave(routing: Routing, servers: readonly Serving[]): Promise<void> {
    await this.runtime.apply(departing(servers, routing));
  }

  /** Those of some servers (`backend/server`, as in the routing) that have not departed. */
  without(servers: ReadonlySet<string>): ReadonlySet<string> {
    if (this.routing === undefined) return servers;
    const there = serversOf(this.routing);
    return new Set([...servers].filter((server) => there.has(server)));
  }

  /** The worker has started and has `fresh`. Returns what it has once servers that have departed have left it. */
  async end(fresh: Actual): Promise<Actual> {
    const { routing } = this;
    this.open = false;
    if (routing === undefined) return fresh;
    const operations = departing(servingIn(fresh), routing);
    // What it does not take shows when it is compared.
    await this.runtime.apply(operations).catch(() => undefined);
    return { ...fresh, backends: backendsAfter(fresh.backends, operations) };
  }
}

/** `backend/server`, as in the routing. */
export const serversOf = ({ backends }: Routing): ReadonlySet<string> =>
  new Set(
    backends.flatMap(({ name, servers }) =>
      servers.map((each) => serverOf({ backend: name, server: each.name })),
    ),
  );

/** A server that takes requests. */
export interface Serving {
  readonly backend: string;
  readonly server: string;
  readonly origin: Origin;
}

export const servingIn = ({ backends }: Actual): Serving[] =>
  [...backends].flatMap(([backend, { servers }]) =>
    [...servers].flatMap(([server, { origin, leaving }]) => (leaving ? [] : [{ backend, server, origin }])),
  );

/** Of a worker of which nothing is known but the names of its servers. */
export const inheritedFrom = (states: readonly ServerState[]): Serving[] =>
  states.flatMap(({ backend, server, maintenance }) =>
    maintenance ? [] : [{ backend, server, origin: { ...originAt(backend, server), service: backend } }],
  );

function departing(servers: readonly Serving[], routing: Routing): ServerOperation[] {
  const there = serversOf(routing);
  return servers.flatMap((each) => (there.has(serverOf(each.origin)) ? [] : [{ kind: "leave", ...each }]));
}
