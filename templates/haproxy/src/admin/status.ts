/**
 * What the load balancer says about itself: `/routes` is this as JSON and the page is this as HTML. Field names are part of
 * the image's interface (README.md): add, never rename. Pure.
 */
import type { ServiceOptions } from "../../../../routing/types";
import { routeKey, routeUrl, type Backend, type Problem, type Routing } from "../../../../routing/build";
import { version } from "../../../../routing/version";
import { inOrder, type HttpsReport } from "../tls/certificate";
import type { ServerState } from "../haproxy/commands";
import type { Change } from "../reconcile/controller";
import type { Held } from "../consul/retention-policy";

export interface ViewInput {
  /** Why requests should not come here yet, or not any more. */
  readonly notReady: string | undefined;
  /** Why the last change is not in force. */
  readonly failure: string | undefined;
  /** Why HAProxy has to be reloaded before all of the routing is in force. */
  readonly pending: readonly string[];
  readonly consul: { readonly connected: boolean; readonly index: number; readonly lastAnswer: number };
  readonly routing: Routing | undefined;
  /** What HAProxy says, by the names that backends have in the routing. */
  readonly states: readonly ServerState[];
  /** Servers (`backend/server`) that have answered since they came. */
  readonly proven: ReadonlySet<string>;
  readonly held: Iterable<Held>;
  readonly changes: readonly Change[];
  readonly https?: HttpsReport;
}

/**
 * `starting`: has not passed a health check yet; `down`: has passed one before; `leaving`: takes no new requests and goes when
 * its last connection ends; `unknown`: HAProxy does not say.
 */
export type InstanceState = "up" | "down" | "starting" | "leaving" | "unknown";

export interface InstanceView {
  readonly ids: readonly string[];
  readonly address: string;
  readonly weight: number;
  readonly state: InstanceState;
  /** Why it is `down` or still `starting`: what its last health check found. */
  readonly check?: string;
  /** Consul has dropped it in a suspicious way; it keeps its traffic for a while. */
  readonly held?: true;
}

export interface ServiceView {
  readonly name: string;
  readonly options: ServiceOptions;
  readonly instances: readonly InstanceView[];
  /** Ids of instances that Consul calls critical, or warns of while others serve. */
  readonly critical: readonly string[];
}

export interface RouteView {
  readonly url: string;
  /** What is looked up: host or `*`, path, slash. */
  readonly key: string;
  readonly versionsOf?: string;
  /** Why it leads where it does, where that is a choice. */
  readonly choice?: string;
  readonly stripPrefix: boolean;
  readonly targets: readonly { readonly service: string; readonly share: number }[];
}

export interface View {
  readonly version: string;
  readonly ready: boolean;
  readonly why?: string;
  readonly failure?: string;
  readonly pending: readonly string[];
  readonly consul: {
    readonly connected: boolean;
    /** The index that is in force. */
    readonly index: number;
    /** Null before the first answer. */
    readonly lastAnswer: string | null;
  };
  readonly routes: readonly RouteView[];
  readonly tcp: readonly { readonly port: number; readonly service: string }[];
  readonly services: readonly ServiceView[];
  /** Instances of services that are gone, with connections that are not. */
  readonly leaving: readonly { readonly backend: string; readonly address: string }[];
  readonly held: readonly {
    readonly service: string;
    readonly id: string;
    readonly address: string;
    readonly since: string;
    /** What was suspicious. */
    readonly why: string;
  }[];
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
  readonly certificates: readonly {
    readonly name: string;
    /** The host names that it is for. */
    readonly hosts: readonly string[];
    readonly expires: string;
  }[];
  readonly warnings: readonly { readonly subject: string; readonly message: string }[];
  readonly changes: readonly Change[];
}

export function buildView(input: ViewInput): View {
  const { routing, consul, failure, notReady } = input;
  const held = [...input.held].map(({ instance, since, why }) => ({
    service: instance.service,
    id: instance.id,
    address: `${instance.address}:${instance.port}`,
    since: new Date(since).toISOString(),
    why,
  }));
  const states = new Map<string, ServerState[]>();
  for (const state of input.states) {
    const others = states.get(state.backend);
    if (others === undefined) states.set(state.backend, [state]);
    else others.push(state);
  }
  const heldAt = new Set(held.map(({ service, address }) => `${service} ${address}`));
  const backends = routing?.backends ?? [];
  const known = new Set(backends.map(({ name }) => name));
  const problems = (level: Problem["level"]) =>
    [...(routing?.problems ?? []), ...(input.https?.problems ?? [])]
      .filter((problem) => problem.level === level)
      .map(({ subject, message }) => ({ subject, message }));
  return {
    version,
    ready: notReady === undefined,
    ...(notReady === undefined ? {} : { why: notReady }),
    ...(failure === undefined ? {} : { failure }),
    pending: input.pending,
    consul: {
      connected: consul.connected,
      index: consul.index,
      lastAnswer: consul.lastAnswer === 0 ? null : new Date(consul.lastAnswer).toISOString(),
    },
    routes: (routing?.routes ?? []).map((route) => ({
      url: routeUrl(route),
      key: routeKey(route),
      ...(route.versionsOf === undefined ? {} : { versionsOf: route.versionsOf }),
      ...(route.choice === undefined ? {} : { choice: route.choice }),
      stripPrefix: route.stripPrefix,
      targets: route.targets.map(({ service, share }) => ({ service, share })),
    })),
    tcp: (routing?.tcp ?? []).map(({ port, service }) => ({ port, service })),
    services: backends.map((backend) => ({
      name: backend.service,
      options: backend.options,
      instances: instances(backend, states.get(backend.name) ?? [], input.proven, heldAt),
      critical: backend.unhealthy,
    })),
    leaving: input.states
      .filter(({ backend, maintenance }) => maintenance && !known.has(backend))
      .map(({ backend, server }) => ({ backend, address: server })),
    held,
    quarantined: problems("quarantined"),
    warnings: problems("warning"),
    certificates: certificates(input.https?.served ?? new Map()),
    changes: input.changes,
  };
}

const certificates = (served: HttpsReport["served"]): View["certificates"] =>
  inOrder(served.keys()).flatMap((name) => {
    const certificate = served.get(name);
    if (certificate === undefined) return [];
    return [{ name, hosts: certificate.names, expires: new Date(certificate.expires).toISOString() }];
  });

function instances(
  backend: Backend,
  states: readonly ServerState[],
  proven: ReadonlySet<string>,
  heldAt: ReadonlySet<string>,
): InstanceView[] {
  const live = new Map(states.map((state) => [state.server, state]));
  const wanted = new Set(backend.servers.map(({ name }) => name));
  const serving = backend.servers.map((server): InstanceView => {
    const address = `${server.address}:${server.port}`;
    const found = live.get(server.name);
    return {
      ids: server.ids,
      address,
      weight: server.weight,
      state: stateOf(found, proven.has(`${backend.name}/${server.name}`)),
      ...(found?.check !== undefined && { check: found.check }),
      ...(heldAt.has(`${backend.service} ${address}`) && { held: true }),
    };
  });
  const leaving = states
    .filter(({ server, maintenance }) => maintenance && !wanted.has(server))
    .map(({ server, weight }): InstanceView => ({ ids: [], address: server, weight, state: "leaving" }));
  return [...serving, ...leaving];
}

function stateOf(live: ServerState | undefined, proven: boolean): InstanceState {
  if (live === undefined) return "unknown";
  if (live.maintenance) return "leaving";
  if (live.up) return "up";
  return proven ? "down" : "starting";
}
