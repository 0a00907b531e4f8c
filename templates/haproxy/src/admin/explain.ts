/** Explains what happens to a request and why. Pure; explain-text.ts formats it for a terminal. */
import { escapeInvisible } from "../../../../lib/text";
import { describeRun, type JobStatus } from "../../../../routing/jobs/status";
import { noticeProblem, readNotices } from "../../../../routing/notices";
import { parseOptions, routingTags } from "../../../../routing/service-options";
import { kv, ok, parseVersion, readyPath, refuse, show, type Parsed } from "../../../../routing/grammar";
import { buildRouting, routeKey, routeUrl } from "../../../../routing/build";
import { byHost, hostsOf, isForHost } from "../../../../routing/hosts";
import type { Catalog, Instance, Route, Routing } from "../../../../routing/types";
import type { InstanceStatus, InstanceStatuses, ServiceStatus } from "./status";

export interface Asked {
  /** As the browser sends it; undefined for a host that no route names. */
  readonly host?: string;
  readonly path: string;
  /** The header X-Version. */
  readonly version?: string;
}

/** The load balancer's own health checks. */
export interface Checks {
  /** Where the results come from, or why there are none. */
  readonly source: string;
  readonly instances?: InstanceStatuses;
  /** Jobs, which have no route. */
  readonly jobs?: readonly JobStatus[];
  /** By service, what the autoscaler has decided. */
  readonly scaling?: ReadonlyMap<string, ServiceStatus["scaling"]>;
  readonly limits?: ReadonlyMap<string, ServiceStatus["limits"]>;
}

export interface LeftOut {
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly why: string;
}

export interface TargetExplained {
  readonly service: string;
  readonly backend: string;
  readonly share: number;
  readonly balance: string;
  readonly instances: readonly {
    readonly ids: readonly string[];
    readonly address: string;
    readonly weight: number;
    /** Why it gets no new requests, although it belongs to the backend. */
    readonly but?: string;
  }[];
  readonly leftOut: readonly LeftOut[];
  /** A request waits until it is awake. */
  readonly asleep?: true;
  /** What the autoscaler has decided. */
  readonly scaling?: ServiceStatus["scaling"];
  readonly limits?: ServiceStatus["limits"];
}

export interface Explanation {
  readonly asked: Asked;
  /** `proxied`, or the status of the load balancer's own answer. */
  readonly answer: "proxied" | 200 | 404 | 503;
  readonly why: string;
  readonly route?: {
    readonly url: string;
    /** The key that the lookup of host and path finds. */
    readonly key: string;
    /** Other routes that match: shorter ones, and those for any host. */
    readonly instead: readonly string[];
    readonly choice?: string;
    /** The KV key that can choose the version. */
    readonly chosenBy?: string;
    /** What is wrong with the key's value. */
    readonly but: readonly string[];
    readonly versions: readonly { readonly service: string; readonly instances: number }[];
    /** The path that the service sees. */
    readonly seen: string;
    /** X-Forwarded-Prefix. */
    readonly prefix?: string;
  };
  readonly targets: readonly TargetExplained[];
  /** Where the load balancer's own health checks come from, or why there are none. */
  readonly checks: string;
  /** For a 404, what was probably meant: registrations without a route, and routes of other hosts. */
  readonly related: readonly { readonly subject: string; readonly why: string }[];
}

/** Parses `http://host/path`, or a path alone. */
export function parseAsked(value: string): Parsed<Asked> {
  const match = /^(?:https?:\/\/([A-Za-z0-9_.:[\]-]+))?(\/[\x21-\x22\x24-\x3e\x40-\x7e]*)?(?:[?#].*)?$/.exec(
    value,
  );
  const [, authority, path = "/"] = match ?? [];
  if (match === null || value === "")
    return refuse("is not a URL like http://host/path, or a path like /hello");
  const host = authority?.split(":")[0]?.replace(/\.+$/, "").toLowerCase();
  return ok({ ...(host === undefined ? {} : { host }), path });
}

const maxRelated = 5;

export function explain(asked: Asked, catalog: Catalog, routing: Routing, checks: Checks): Explanation {
  if (asked.path === readyPath) {
    const why = "the load balancer itself answers; 503 while it is not ready";
    return { asked, answer: 200, why, targets: [], checks: checks.source, related: [] };
  }
  const matching = matches(asked, routing);
  const [route, ...shorter] = matching;
  if (route === undefined)
    return {
      asked,
      answer: 404,
      why: `no route${asked.host === undefined ? "" : ` for host ${asked.host}`} matches ${asked.path}`,
      targets: [],
      checks: checks.source,
      related: related(asked, catalog, routing, checks.jobs),
    };
  const versions = versionsOf(route, routing);
  const inPath = versionInPath(asked, route);
  // HAProxy uses the last of several values.
  const inHeader = asked.version?.split(",").at(-1)?.trim();
  const named = inPath ?? inHeader;
  // If the version in the path existed, its own route would have matched. A version in the header leads to that route.
  const chosen =
    route.versionsOf === undefined || named === undefined
      ? route
      : inPath === undefined
        ? versionRoute(named, route, routing)
        : undefined;
  // Each version decides whether its prefix is stripped.
  const { stripPrefix } = chosen ?? route;
  const prefix = stripPrefix && route.path !== "/" ? route.path : undefined;
  const chosenBy = route.versionsOf === undefined ? undefined : kv.versions + route.versionsOf;
  const explained = {
    url: routeUrl(route),
    key: routeKey(route),
    instead: shorter.map(routeUrl),
    ...(route.choice === undefined ? {} : { choice: route.choice }),
    ...(chosenBy === undefined ? {} : { chosenBy }),
    but: routing.problems.filter(({ subject }) => subject === chosenBy).map(({ message }) => message),
    versions,
    seen: prefix === undefined ? asked.path : withoutPrefix(asked.path, prefix.length),
    ...(prefix === undefined ? {} : { prefix }),
  };
  if (chosen === undefined || chosen.targets.length === 0)
    return {
      asked,
      answer: 404,
      why: `${route.versionsOf ?? ""} has no version ${chosen === undefined ? `${show(named ?? "")} with a route` : "that the KV value names"}, and no other version answers instead`,
      route: explained,
      targets: [],
      checks: checks.source,
      related: related(asked, catalog, routing, checks.jobs),
    };
  const targets = chosen.targets.map((target) => explainTarget(target, catalog, routing, checks));
  const serving = (target: TargetExplained) => target.instances.filter(({ but }) => but === undefined).length;
  const count = targets.reduce((sum, target) => sum + serving(target), 0);
  const names = chosen.targets.map(({ service }) => service).join(" or ");
  const asleep = count === 0 && targets.some((target) => target.asleep === true);
  return {
    asked,
    answer: count > 0 || asleep ? "proxied" : 503,
    why: asleep
      ? `waits until ${names} is awake, for at most 30 s; a health check gets 200 at once`
      : count > 0
        ? `goes to ${count === 1 ? "the instance" : `one of ${count} instances`} of ${names}`
        : `no instance of ${names} takes requests`,
    route: explained,
    targets,
    checks: checks.source,
    related: [],
  };
}

/** The path that routes are matched with: parameters (RFC 3986, 3.3), as in `/a;x=1`, play no part. */
const withoutParameters = (path: string): string => path.replace(/;[^/]*/g, "");

/** The path that a service sees behind a prefix of this length; does what the backend profiles do. */
function withoutPrefix(path: string, length: number): string {
  const inPrefix = path.slice(0, length).includes(";");
  const plain = inPrefix ? path.replace(/;[^/]*\//g, "/") : path;
  return `/${plain.slice(length).replace(/^\//, "")}`;
}

/** The version in the path after the route, escaped or not. */
function versionInPath({ path }: Asked, route: Route): string | undefined {
  const rest = withoutParameters(path).slice(route.path.length);
  // Like HAProxy, decode nothing if the path contains an invalid escape.
  if (/%(?![0-9A-Fa-f]{2})/.test(rest)) return undefined;
  const decoded = rest.replace(/%(..)/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
  return /^\/(v[0-9]+)(?=[/;]|$)/.exec(decoded)?.[1];
}

/** The route of the version in the header. */
function versionRoute(version: string, route: Route, routing: Routing): Route | undefined {
  if (!/^v[0-9]{1,9}$/.test(version)) return undefined;
  return routing.routes.find((each) => each.host === route.host && each.path === `${route.path}/${version}`);
}

/** All routes that match the request, by precedence: those of its host first, then the longest. */
function matches({ host, path }: Asked, routing: Routing): Route[] {
  const matched = withoutParameters(path);
  const fits = (route: Route) =>
    isForHost(route, host) && `${matched}/`.startsWith(route.path === "/" ? "/" : `${route.path}/`);
  return routing.routes.filter(fits).sort((a, b) => byHost(a, b) || b.path.length - a.path.length);
}

function versionsOf({ versionsOf: base, host }: Route, routing: Routing) {
  if (base === undefined) return [];
  return routing.backends
    .flatMap(({ service, servers, options }) => {
      const version = parseVersion(service);
      const same = version?.base === base && hostsOf(options).includes(host) && options.path === undefined;
      return same ? [{ service, instances: servers.length, number: version.number }] : [];
    })
    .sort((a, b) => a.number - b.number)
    .map(({ service, instances }) => ({ service, instances }));
}

function explainTarget(
  { service, backend: name, share }: Route["targets"][number],
  catalog: Catalog,
  routing: Routing,
  { instances: statuses, scaling, limits }: Checks,
): TargetExplained {
  const decided = scaling?.get(service);
  const limited = limits?.get(service);
  const backend = routing.backends.find((each) => each.service === service);
  const included = new Set(backend?.servers.flatMap(({ ids }) => ids));
  return {
    service,
    backend: name,
    share,
    balance: backend?.options.balance ?? "roundrobin",
    ...(backend?.servers.length === 0 && routing.sleeping.has(service) && { asleep: true as const }),
    ...(decided !== undefined && { scaling: decided }),
    ...(limited !== undefined && { limits: limited }),
    instances: (backend?.servers ?? []).map(({ ids, address: host, port, weight }) => {
      const address = `${host}:${port}`;
      const but =
        weight === 0
          ? `its weight is 0${backend?.options.sticky === true ? ", so only clients with its cookie keep it" : ""}: set SERVICE_WEIGHT to a number from 1 to 256, or remove it`
          : whyNoRequests(statuses?.get(`${service} ${address}`));
      return { ids, address, weight, ...(but === undefined ? {} : { but }) };
    }),
    leftOut: [
      ...catalog.instances
        .filter((instance) => instance.service === service && !included.has(instance.id))
        .map((instance) => ({
          id: instance.id,
          node: instance.node,
          address: `${instance.address}:${instance.port}`,
          why: whyLeftOut(instance, routing),
        })),
      ...readNotices(catalog.instances)
        .filter((notice) => notice.service === service)
        .map(({ container, node, why }) => ({ id: container, node, address: "-", why: `unrouted: ${why}` })),
    ],
  };
}

/** Why an instance that is healthy in Consul gets no requests. */
function whyNoRequests({ state, check }: Partial<InstanceStatus> = {}): string | undefined {
  const why = check === undefined ? "" : `: ${check}`;
  switch (state) {
    case "down":
      return `the load balancer finds it down${why}`;
    case "starting":
      return `it has not passed a health check of the load balancer yet${why}`;
    default:
      return undefined;
  }
}

/** Why an instance is not part of its backend: finds out what would be routed if it were the only instance. */
function whyLeftOut(instance: Instance, routing: Routing): string {
  const alone = buildRouting({ instances: [instance], kv: {} }, { hostnames: routing.hostnames });
  const rejected = alone.problems.find(({ level }) => level !== "warning");
  if (rejected !== undefined) return `${rejected.level}: ${rejected.message}`;
  const wanted = parseOptions(instance.tags, instance.meta);
  if (wanted === undefined)
    return `has none of the tags ${routingTags.join(", ")}: its tags are ${show(instance.tags.join(","))}`;
  const backend = routing.backends.find(({ service }) => service === instance.service);
  if (backend === undefined) {
    const conflict = routing.problems.find(
      ({ level, subject }) => level === "quarantined" && subject === instance.service,
    );
    return `quarantined: ${conflict?.message ?? "its service is not routed"}`;
  }
  if (wanted.ok && wanted.value.service.kind !== backend.options.kind)
    return `quarantined: it is tagged ${wanted.value.service.kind}, but most instances of ${instance.service} are ${backend.options.kind}`;
  if (!instance.healthy) return "critical: in Consul, a check of the instance or of its node fails";
  return "starting: a check in Consul is in state warning, and other instances serve";
}

/** For a 404: registrations and routes for its path that were not used, with the reason. */
function related(
  { host, path }: Asked,
  catalog: Catalog,
  routing: Routing,
  jobs: readonly JobStatus[] = [],
): { subject: string; why: string }[] {
  const under = (prefix: string) => `${withoutParameters(path)}/`.startsWith(`${prefix}/`);
  const routed = new Set(routing.backends.map(({ service }) => service));
  const unrouted = catalog.instances
    .filter(
      ({ service, meta }) =>
        !routed.has(service) && [`/${service}`, ...(meta["path"]?.split(",") ?? [])].some(under),
    )
    .map((instance) => ({ subject: instance.service, why: whyLeftOut(instance, routing) }));
  const elsewhere = routing.routes
    .filter((route) => !isForHost(route, host) && route.path !== "/" && under(route.path))
    .map((route) => ({ subject: routeUrl(route), why: `answers for host ${route.host ?? ""} only` }));
  const seen = readNotices(catalog.instances)
    .filter(({ service }) => under(`/${service}`))
    .map((notice) => ({ subject: notice.service, why: `unrouted: ${noticeProblem(notice).message}` }));
  const scheduled = jobs
    .filter(({ name }) => under(`/${name}`))
    .map((job) => ({ subject: job.name, why: whatOf(job) }));
  const unique = new Map(
    [...scheduled, ...unrouted, ...seen, ...elsewhere].map((each) => [`${each.subject}\n${each.why}`, each]),
  );
  return [...unique.values()].slice(0, maxRelated);
}

/** A job in one line. */
function whatOf({ schedule, running, next, runs, problem }: JobStatus): string {
  const last = runs.at(-1);
  const now =
    problem ?? (running === undefined ? `next at ${next ?? "no time"}` : `running since ${running}`);
  const before = last === undefined ? "no run yet" : `last run ${describeRun(last)}`;
  return escapeInvisible(`a job, ${schedule}: ${now}; ${before}`);
}
