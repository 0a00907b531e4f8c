/** What happens to a request and why, from what is registered. Pure; explain-text.ts says it in words. */
import { parseOptions, routingTags } from "../../../../routing/service-options";
import { kv, ok, parseVersion, refuse, show, type Parsed } from "../../../../routing/grammar";
import {
  buildRouting,
  routeKey,
  routeUrl,
  type Catalog,
  type Instance,
  type Route,
  type Routing,
} from "../../../../routing/build";
import type { Live } from "./client";
import type { InstanceView } from "./status";

export interface Asked {
  /** As the browser sends it; undefined: one that no route asks for. */
  readonly host?: string;
  readonly path: string;
  /** The header X-Version. */
  readonly version?: string;
}

export interface Checks {
  /** Where they were asked for, and whether they were had. */
  readonly said: string;
  readonly live?: Live;
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
    /** Why it gets no new requests although it is among them. */
    readonly but?: string;
  }[];
  readonly leftOut: readonly LeftOut[];
}

export interface Explanation {
  readonly asked: Asked;
  /** What the load balancer answers by itself, or `proxied`. */
  readonly answer: "proxied" | 404 | 503;
  readonly why: string;
  readonly route?: {
    readonly url: string;
    /** What was found by looking up host and path. */
    readonly key: string;
    /** Routes that match as well and are shorter, or for any host. */
    readonly instead: readonly string[];
    readonly choice?: string;
    /** The KV key that chooses a version, where there are some. */
    readonly chosenBy?: string;
    /** What is wrong with its value. */
    readonly but: readonly string[];
    readonly versions: readonly { readonly service: string; readonly instances: number }[];
    /** The path that the service sees. */
    readonly seen: string;
    /** X-Forwarded-Prefix. */
    readonly prefix?: string;
  };
  readonly targets: readonly TargetExplained[];
  /** Whether the load balancer's own health checks are taken into account. */
  readonly checks: string;
  /** What may have been meant and is not routed: registrations, or routes of other hosts. */
  readonly related: readonly { readonly subject: string; readonly why: string }[];
}

/** `http://host/path`, or only a path. */
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

const shownRelated = 5;

export function explain(asked: Asked, catalog: Catalog, routing: Routing, checks: Checks): Explanation {
  const matching = matches(asked, routing);
  const [route, ...shorter] = matching;
  if (route === undefined)
    return {
      asked,
      answer: 404,
      why: `no route matches ${asked.host ?? "any host"} and ${asked.path}`,
      targets: [],
      checks: checks.said,
      related: related(asked, catalog, routing),
    };
  const versions = versionsOf(route, routing);
  const inPath = versionInPath(asked, route);
  // Of several values of a header, HAProxy takes the last.
  const inHeader = asked.version?.split(",").at(-1)?.trim();
  const named = inPath ?? inHeader;
  // A version in the path has a route of its own, were it there; one in the header leads to that route.
  const chosen =
    route.versionsOf === undefined || named === undefined
      ? route
      : inPath === undefined
        ? versionRoute(named, route, routing)
        : undefined;
  // Each version says itself whether its prefix is taken off.
  const { stripPrefix } = chosen ?? route;
  const prefix = stripPrefix && route.path !== "/" ? asked.path.slice(0, route.path.length) : undefined;
  const chosenBy = route.versionsOf === undefined ? undefined : kv.versions + route.versionsOf;
  const explained = {
    url: routeUrl(route),
    key: routeKey(route),
    instead: shorter.map(routeUrl),
    ...(route.choice === undefined ? {} : { choice: route.choice }),
    ...(chosenBy === undefined ? {} : { chosenBy }),
    but: routing.problems.filter(({ subject }) => subject === chosenBy).map(({ message }) => message),
    versions,
    seen: prefix === undefined ? asked.path : `/${asked.path.slice(route.path.length + 1)}`,
    ...(prefix === undefined ? {} : { prefix }),
  };
  if (chosen === undefined || chosen.targets.length === 0)
    return {
      asked,
      answer: 404,
      why: `${route.versionsOf ?? ""} has no version ${chosen === undefined ? `${show(named ?? "")} with a route` : "that is set"}, and another never answers for it`,
      route: explained,
      targets: [],
      checks: checks.said,
      related: related(asked, catalog, routing),
    };
  const targets = chosen.targets.map((target) => explainTarget(target, catalog, routing, checks.live));
  const serving = (target: TargetExplained) => target.instances.filter(({ but }) => but === undefined).length;
  const count = targets.reduce((sum, target) => sum + serving(target), 0);
  const names = chosen.targets.map(({ service }) => service).join(" or ");
  return {
    asked,
    answer: count > 0 ? "proxied" : 503,
    why:
      count > 0
        ? `goes to ${count === 1 ? "the instance" : `one of ${count} instances`} of ${names}`
        : `no instance of ${names} takes requests`,
    route: explained,
    targets,
    checks: checks.said,
    related: [],
  };
}

/** The version that the path goes on with, escaped or not. */
function versionInPath({ path }: Asked, route: Route): string | undefined {
  const rest = path.slice(route.path.length);
  // What is not an escape is none for HAProxy either, and then it decodes nothing.
  if (/%(?![0-9A-Fa-f]{2})/.test(rest)) return undefined;
  const decoded = rest.replace(/%(..)/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
  return /^\/(v[0-9]+)(?=\/|$)/.exec(decoded)?.[1];
}

/** The own route of the version that the header asks for. */
function versionRoute(version: string, route: Route, routing: Routing): Route | undefined {
  if (!/^v[0-9]{1,9}$/.test(version)) return undefined;
  return routing.routes.find((each) => each.host === route.host && each.path === `${route.path}/${version}`);
}

/** Every route that the request fits, the one that is taken first: that of its host, then the longest. */
function matches({ host, path }: Asked, routing: Routing): Route[] {
  const fits = (route: Route) =>
    (route.host === undefined || route.host === host) &&
    `${path}/`.startsWith(route.path === "/" ? "/" : `${route.path}/`);
  return routing.routes
    .filter(fits)
    .sort(
      (a, b) => Number(a.host === undefined) - Number(b.host === undefined) || b.path.length - a.path.length,
    );
}

function versionsOf({ versionsOf: base, host }: Route, routing: Routing) {
  if (base === undefined) return [];
  return routing.backends
    .flatMap(({ service, servers, options }) => {
      const version = parseVersion(service);
      const same = version?.base === base && options.host === host && options.path === undefined;
      return same ? [{ service, instances: servers.length, number: version.number }] : [];
    })
    .sort((a, b) => a.number - b.number)
    .map(({ service, instances }) => ({ service, instances }));
}

function explainTarget(
  { service, backend: name, share }: Route["targets"][number],
  catalog: Catalog,
  routing: Routing,
  live: Live | undefined,
): TargetExplained {
  const backend = routing.backends.find((each) => each.service === service);
  const among = new Set(backend?.servers.flatMap(({ ids }) => ids));
  return {
    service,
    backend: name,
    share,
    balance: backend?.options.balance ?? "roundrobin",
    instances: (backend?.servers ?? []).map(({ ids, address: host, port, weight }) => {
      const address = `${host}:${port}`;
      const but =
        weight === 0
          ? `its weight is 0${backend?.options.sticky === true ? ", and only clients that have its cookie keep it" : ""}: set SERVICE_WEIGHT, from 1 to 256, or remove it`
          : whyUnchecked(live?.get(`${service} ${address}`));
      return { ids, address, weight, ...(but === undefined ? {} : { but }) };
    }),
    leftOut: catalog.instances
      .filter((instance) => instance.service === service && !among.has(instance.id))
      .map((instance) => ({
        id: instance.id,
        node: instance.node,
        address: `${instance.address}:${instance.port}`,
        why: whyNot(instance, routing),
      })),
  };
}

/** Why an instance that Consul calls healthy takes no requests. */
function whyUnchecked({ state, check }: Partial<InstanceView> = {}): string | undefined {
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

/** Why an instance takes no requests, by asking what would be routed if there were no other. */
function whyNot(instance: Instance, routing: Routing): string {
  const wanted = parseOptions(instance.tags, instance.meta);
  if (wanted === undefined)
    return `has none of the tags ${routingTags.join(", ")}: its tags are ${show(instance.tags.join(","))}`;
  const alone = buildRouting({ instances: [instance], kv: {} });
  const refused = alone.problems.find(({ level }) => level === "quarantined");
  if (refused !== undefined) return `quarantined: ${refused.message}`;
  const backend = routing.backends.find(({ service }) => service === instance.service);
  if (backend === undefined) {
    const conflict = routing.problems.find(
      ({ level, subject }) => level === "quarantined" && subject === instance.service,
    );
    return `quarantined: ${conflict?.message ?? "its service is not routed"}`;
  }
  if (wanted.ok && wanted.value.service.kind !== backend.options.kind)
    return `quarantined: is tagged ${wanted.value.service.kind}, most instances of ${instance.service} ${backend.options.kind}`;
  if (!instance.healthy) return "critical: a check of it or of its node fails in Consul";
  return "starting: Consul warns of it, and other instances serve";
}

/** For a request that finds nothing: registrations and routes of its path that do not count, with the reason. */
function related(
  { host, path }: Asked,
  catalog: Catalog,
  routing: Routing,
): { subject: string; why: string }[] {
  const under = (prefix: string) => `${path}/`.startsWith(`${prefix}/`);
  const routed = new Set(routing.backends.map(({ service }) => service));
  const unrouted = catalog.instances
    .filter(
      ({ service, meta }) => !routed.has(service) && (under(`/${service}`) || under(meta["path"] ?? "?")),
    )
    .map((instance) => ({ subject: instance.service, why: whyNot(instance, routing) }));
  const elsewhere = routing.routes
    .filter(
      (route) => route.host !== undefined && route.host !== host && route.path !== "/" && under(route.path),
    )
    .map((route) => ({ subject: routeUrl(route), why: `answers for host ${route.host ?? ""} only` }));
  const unique = new Map([...unrouted, ...elsewhere].map((each) => [`${each.subject}\n${each.why}`, each]));
  return [...unique.values()].slice(0, shownRelated);
}
