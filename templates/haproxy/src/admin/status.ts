/**
 * The state of the load balancer: `/routes` returns it as JSON, and the page shows it. Field names are part of the image's
 * interface (README.md): add fields, never rename them. Pure.
 */
import { routeKey, routeUrl } from "../../../../routing/build";
import type { Backend, Problem, Routing } from "../../../../routing/types";
import type { ServiceOptions } from "../../../../routing/types";
import type { JobStatus } from "../../../../routing/jobs/status";
import type { LimitsStatus } from "../../../../routing/scaling/limits-status";
import type { ScaledServiceStatus, ScalingStatus } from "../../../../routing/scaling/status";
import { version } from "../../../../routing/version";
import type { Retained } from "../consul/retention-policy";
import type { ServerState } from "../haproxy/commands";
import type { Change } from "../reconcile/controller";
import { inOrder, type HttpsReport } from "../tls/certificate";

export interface StatusInput {
  /** Why the load balancer should get no requests yet, or no longer. */
  readonly notReady: string | undefined;
  /** Why the last change failed. */
  readonly failure: string | undefined;
  /** Why HAProxy must be reloaded before all routing is in force. */
  readonly pending: readonly string[];
  /** `lastAnswer` is in milliseconds since 1970, 0 before the first answer. */
  readonly consul: { readonly connected: boolean; readonly index: number; readonly lastAnswer: number };
  readonly routing: Routing | undefined;
  /** The servers in HAProxy, with the names that backends have in the routing. */
  readonly states: readonly ServerState[];
  /** Servers (`backend/server`) that have answered since they were added. */
  readonly proven: ReadonlySet<string>;
  /** What is wrong with servers that do not answer as they should: the rest of a sentence that starts with the server. */
  readonly findings?: ReadonlyMap<string, string>;
  /** Problems that are not those of the routing or of certificates. */
  readonly problems?: readonly Problem[];
  readonly held: Iterable<Retained>;
  readonly changes: readonly Change[];
  readonly https?: HttpsReport;
  /** What the autoscaler has decided, if there is one. */
  readonly scaling?: ScalingStatus | undefined;
}

/**
 * `starting`: has not passed a health check yet; `down`: passed one before, and fails now; `leaving`: gets no new requests
 * and is removed when its last connection ends; `unknown`: HAProxy does not say.
 */
export type InstanceState = "up" | "down" | "starting" | "leaving" | "unknown";

export interface InstanceStatus {
  readonly ids: readonly string[];
  readonly address: string;
  /** The name in DNS that it is registered with instead of the address. */
  readonly hostname?: string;
  readonly weight: number;
  readonly state: InstanceState;
  /** The result of the last health check of an instance that is `down` or `starting`. */
  readonly check?: string;
  /** Consul dropped it in a suspicious way; it keeps its traffic for a while. */
  readonly held?: true;
}

export interface ServiceStatus {
  readonly name: string;
  /** `h2c`: whether `proto` is. */
  readonly options: ServiceOptions & { readonly h2c: boolean };
  readonly instances: readonly InstanceStatus[];
  /** Ids of instances that Consul's checks keep out: critical ones, and those with a warning while others serve. */
  readonly critical: readonly string[];
  /** Those of them with a warning: they wait for their health check. */
  readonly waiting: readonly string[];
  /** It has no instance, and a request wakes it. */
  readonly asleep?: true;
  readonly scaling?: ScaledServiceStatus | undefined;
  readonly limits?: LimitsStatus | undefined;
}

export interface RouteStatus {
  readonly url: string;
  /** The key of the lookup: host or `*`, path, slash. */
  readonly key: string;
  readonly versionsOf?: string;
  /** Why the route leads to this version. */
  readonly choice?: string;
  readonly stripPrefix: boolean;
  readonly targets: readonly { readonly service: string; readonly share: number }[];
}

export interface Status {
  readonly version: string;
  readonly ready: boolean;
  readonly why?: string;
  readonly failure?: string;
  readonly pending: readonly string[];
  readonly consul: {
    readonly connected: boolean;
    /** The index in force. */
    readonly index: number;
    /** An ISO date; null before the first answer. */
    readonly lastAnswer: string | null;
  };
  readonly routes: readonly RouteStatus[];
  readonly tcp: readonly { readonly port: number; readonly service: string }[];
  readonly services: readonly ServiceStatus[];
  /** Instances whose service is gone but whose connections are not. */
  readonly leaving: readonly { readonly backend: string; readonly address: string }[];
  readonly held: readonly {
    readonly service: string;
    readonly id: string;
    readonly address: string;
    readonly since: string;
    /** Why its disappearance is suspect. */
    readonly why: string;
  }[];
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
  /** What does not ask for load balancing, or not in a way that works, but was probably meant to. */
  readonly unrouted: readonly { readonly subject: string; readonly message: string }[];
  readonly certificates: readonly {
    readonly name: string;
    /** The host names that it is valid for. */
    readonly hosts: readonly string[];
    readonly expires: string;
  }[];
  readonly warnings: readonly { readonly subject: string; readonly message: string }[];
  readonly changes: readonly Change[];
  /** Services that the autoscaler recommends limits for, and that are not routed. */
  readonly workers: readonly { readonly name: string; readonly limits: LimitsStatus }[];
  /** Services with a schedule, with their last runs. */
  readonly jobs: readonly JobStatus[];
  /** The autoscaler that decides; null without one. Its services have what it has decided. */
  readonly autoscaler: Omit<ScalingStatus, "services" | "limits" | "jobs"> | null;
}

/** The instances by `service address:port`. */
export type InstanceStatuses = ReadonlyMap<string, InstanceStatus>;

export const instanceStatuses = ({ services }: Pick<Status, "services">): InstanceStatuses =>
  new Map(
    services.flatMap(({ name, instances }) =>
      instances.map((instance): [string, InstanceStatus] => [`${name} ${instance.address}`, instance]),
    ),
  );

export function buildStatus(input: StatusInput): Status {
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
  const decided = new Map(input.scaling?.services.map((service) => [service.name, service]));
  const limits = new Map(input.scaling?.limits?.map((each) => [each.name, each]));
  const known = new Set(backends.map(({ name }) => name));
  const services = backends.map((backend) => ({
    name: backend.service,
    options: { ...backend.options, h2c: backend.options.proto === "h2c" },
    instances: instances(backend, states.get(backend.name) ?? [], input, heldAt),
    critical: backend.unhealthy.map(({ id }) => id),
    waiting: backend.unhealthy.filter(({ check }) => check === "warning").map(({ id }) => id),
    ...(routing?.sleeping.has(backend.service) === true &&
      backend.servers.length === 0 && { asleep: true as const }),
    ...(decided.has(backend.service) && { scaling: decided.get(backend.service) }),
    ...(limits.has(backend.service) && { limits: limits.get(backend.service) }),
  }));
  const misunderstood = backends.flatMap((backend) =>
    upWithFinding(backend, states.get(backend.name) ?? [], input),
  );
  const problems = (level: Problem["level"]) =>
    [
      ...(routing?.problems ?? []),
      ...(input.https?.problems ?? []),
      ...(input.problems ?? []),
      ...misunderstood,
    ]
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
    services,
    leaving: input.states
      .filter(({ backend, maintenance }) => maintenance && !known.has(backend))
      .map(({ backend, server }) => ({ backend, address: server })),
    held,
    quarantined: problems("quarantined"),
    unrouted: problems("unrouted"),
    warnings: problems("warning"),
    certificates: certificates(input.https?.served ?? new Map()),
    changes: input.changes,
    workers: [...limits.values()]
      .filter(({ name }) => !services.some((service) => service.name === name))
      .map((each) => ({ name: each.name, limits: each })),
    jobs: input.scaling?.jobs ?? [],
    autoscaler: autoscalerOf(input.scaling),
  };
}

function autoscalerOf(scaling: ScalingStatus | undefined): Status["autoscaler"] {
  if (scaling === undefined) return null;
  const { node, dry, at, nodesWanted } = scaling;
  return { node, dry, at, nodesWanted };
}

const certificates = (served: HttpsReport["served"]): Status["certificates"] =>
  inOrder(served.keys()).flatMap((name) => {
    const certificate = served.get(name);
    if (certificate === undefined) return [];
    return [{ name, hosts: certificate.names, expires: new Date(certificate.expires).toISOString() }];
  });

function instances(
  backend: Backend,
  states: readonly ServerState[],
  { proven, findings }: StatusInput,
  heldAt: ReadonlySet<string>,
): InstanceStatus[] {
  const stateByServer = new Map(states.map((state) => [state.server, state]));
  const wanted = new Set(backend.servers.map(({ name }) => name));
  const serving = backend.servers.map((server): InstanceStatus => {
    const address = `${server.address}:${server.port}`;
    const found = stateByServer.get(server.name);
    const check = found?.check && (findings?.get(`${backend.name}/${server.name}`) ?? found.check);
    return {
      ids: server.ids,
      address,
      ...(server.hostname !== undefined && { hostname: server.hostname }),
      weight: server.weight,
      state: stateOf(found, proven.has(`${backend.name}/${server.name}`)),
      ...(check !== undefined && { check }),
      ...(heldAt.has(`${backend.service} ${address}`) && { held: true }),
    };
  });
  const leaving = states
    .filter(({ server, maintenance }) => maintenance && !wanted.has(server))
    .map(({ server, weight }): InstanceStatus => ({ ids: [], address: server, weight, state: "leaving" }));
  return [...serving, ...leaving];
}

/** An answer can pass HAProxy's check and be wrong nevertheless. */
const upWithFinding = (
  { name, service }: Backend,
  states: readonly ServerState[],
  { findings }: StatusInput,
): Problem[] =>
  states.flatMap(({ server, up, maintenance }) => {
    const finding = up && !maintenance ? findings?.get(`${name}/${server}`) : undefined;
    return finding === undefined
      ? []
      : [{ level: "warning", subject: service, message: `Instance ${server} of ${service} ${finding}.` }];
  });

function stateOf(server: ServerState | undefined, proven: boolean): InstanceState {
  if (server === undefined) return "unknown";
  if (server.maintenance) return "leaving";
  if (server.up) return "up";
  return proven ? "down" : "starting";
}
