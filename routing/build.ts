/**
 * Computes routes from registered instances. The load balancer calls this for every change and the Pulumi program at every
 * preview, so both always agree. Messages address the owner of the service.
 */
import { claimedSince, whyUnrouted, parseOptions, serviceOptions, type Member } from "./service-options";
import { backendName, parseAddress, parseDnsName, parseServiceName, serverName, show } from "./grammar";
import { hostsOf, pathsOf } from "./hosts";
import { noticeProblem, readNotices } from "./notices";
import { atAddresses } from "./resolve";
import { readSettings } from "./settings";
import { readSleepers } from "./sleepers";
import { sharedPorts } from "./shared-ports";
import type {
  Backend,
  Catalog,
  Instance,
  InstanceOptions,
  Problem,
  Resolution,
  Route,
  Routing,
  RoutingOptions,
  Unhealthy,
  Server,
  TcpPort,
} from "./types";
import { compare } from "../lib/text";
import { whyUnverifiable } from "./options/proto";
import { maxWeight, weight as weightOption } from "./options/weight";
import { chooseVersions, findFamilies, readPins, type Families } from "./versions";

/** Invalid names can have any length. */
const longestSubject = 200;

/** Why an instance is not routed. */
type Rejection = Omit<Problem, "subject">;

const quarantine = (message: string): Rejection => ({ level: "quarantined", message });

interface Candidate {
  readonly backend: Backend;
  readonly problems: readonly Problem[];
}

export function buildRouting(catalog: Catalog, options: RoutingOptions = {}): Routing {
  const problems: Problem[] = [...(catalog.problems ?? [])];
  const { maxFiles: files } = options;
  // Rounded up to thousands, so that the message about them does not change with every instance.
  const instances = Math.ceil(catalog.instances.length / 1_000) * 1_000;
  const capacity = files === undefined ? undefined : { files, instances };
  const read = readSettings(catalog.kv, options.lastGood?.settings, capacity);
  const pins = readPins(catalog.kv, options.lastGood?.pins);
  const sleepers = readSleepers(catalog.kv, options.lastGood?.records);
  for (const { key, message } of [...read.problems, ...sleepers.problems])
    problems.push({ level: "warning", subject: key, message });

  for (const notice of readNotices(catalog.instances)) problems.push(noticeProblem(notice));

  const services = new Map<string, Member[]>();
  const hostnames = new Map<string, Resolution | undefined>();
  for (const instance of catalog.instances) {
    const member = admitted(instance);
    if (member === undefined) continue;
    if ("level" in member) {
      problems.push({ ...member, subject: instance.service.slice(0, longestSubject) });
      continue;
    }
    const members = services.get(instance.service) ?? [];
    if (members.length === 0) services.set(instance.service, members);
    if (member.hostname === undefined) members.push(member);
    else {
      const resolution = options.hostnames?.get(member.hostname);
      hostnames.set(member.hostname, resolution);
      const resolved = atAddresses(member, resolution);
      members.push(...resolved.members);
      problems.push(...resolved.problems);
    }
  }

  problems.push(...sharedPorts(catalog.instances, isAdmitted));
  const backends: Backend[] = [];
  const routes = new Map<string, Route>();
  const tcp = new Map<number, TcpPort>();
  const asleep = [...sleepers.backends.values()].filter(({ service }) => !services.has(service));
  const candidates = [
    ...[...services].map(([service, members]) => candidate(service, members)),
    ...asleep.map((backend) => ({ backend, problems: [] })),
  ];
  for (const each of candidates) problems.push(...each.problems);
  // Services that claim their own names come first, so all versions are known before other services claim their path.
  let families: Families | undefined;
  for (const backend of candidates.map((each) => each.backend).sort(byClaim)) {
    const { service } = backend;
    if (claimsForeignPath(backend)) families ??= findFamilies(backends);
    const refused = options.refused?.get(service);
    const conflict =
      (refused === undefined
        ? whyUntrusted(backend, options.authorities)
        : `Service ${service} is refused by HAProxy: ${refused}. It is tried again when its registration changes.`) ??
      (backend.options.kind === "tcp"
        ? claimPort(backend, tcp, options.reservedPorts)
        : claimRoute(backend, routes, families));
    if (conflict === undefined) backends.push(backend);
    else problems.push({ level: "quarantined", subject: service, message: conflict });
  }

  families ??= findFamilies(backends);
  const sleeping: ReadonlySet<string> = new Set(sleepers.backends.keys());
  const versions = chooseVersions(families, routes, catalog.kv, pins, { ...options, sleeping });
  problems.push(...versions.problems);
  return {
    settings: read.settings,
    pins,
    records: sleepers.records,
    sleeping,
    backends: backends.sort((a, b) => compare(a.service, b.service)),
    routes: [...routes, ...versions.routes.map((route): [string, Route] => [routeKey(route), route])]
      .sort(([a], [b]) => compare(a, b))
      .map(([, route]) => route),
    tcp: [...tcp.values()].sort((a, b) => a.port - b.port),
    hostnames,
    problems: dedupe(problems),
  };
}

/** The key that requests are matched against: host (or `*`), path and a final slash, so that `/a` never matches `/ab`. */
export function routeKey(route: Pick<Route, "host" | "path">): string {
  return `${route.host ?? "*"}${route.path === "/" ? "" : route.path}/`;
}

/** A route in readable form. */
export const routeUrl = (route: Pick<Route, "host" | "path">): string => `${route.host ?? ""}${route.path}`;

/** The instance with its options, the reason why it is rejected, or undefined if it has nothing to do with routing. */
function admit(instance: Instance): Member | Rejection | undefined {
  const name = parseServiceName(instance.service);
  const service = name.ok ? instance.service : show(instance.service);
  const subject = `Service ${service} (instance ${show(instance.id)})`;
  const parsed = parseOptions(instance.tags, instance.meta);
  if (parsed === undefined) {
    const why = whyUnrouted(instance.tags);
    return why === undefined ? undefined : { level: "unrouted", message: `${subject} ${why}.` };
  }
  if (!name.ok) return quarantine(`Service name ${service} ${name.error}. Set SERVICE_NAME.`);
  if (!parsed.ok) return quarantine(`${subject} ${parsed.error}.`);
  const address = parseAddress(instance.address);
  const hostname = address.ok ? undefined : parseDnsName(instance.address);
  if (!address.ok && !hostname?.ok)
    return quarantine(`${subject} has address ${show(instance.address)}, which ${address.error}.`);
  if (!Number.isInteger(instance.port) || instance.port < 1 || instance.port > 65_535)
    return quarantine(
      `${subject} has port ${instance.port}: register it with a published port from 1 to 65535.`,
    );
  const named = hostname?.ok === true ? { hostname: hostname.value } : {};
  const unverifiable = whyUnverifiable(parsed.value.service, named.hostname);
  if (unverifiable !== undefined) return quarantine(`${subject} ${unverifiable}.`);
  return {
    instance: address.ok ? { ...instance, address: address.value } : instance,
    options: parsed.value,
    ...named,
  };
}

/**
 * Caches, so that the cost of a change depends only on what it touches, even with thousands of services. Catalogs are
 * immutable, so a result stays valid for the same instance, or for the same instances of a service.
 */
const admissions = new WeakMap<Instance, { readonly member: Member | Rejection | undefined }>();
const candidates = new WeakMap<Member, Candidate & { readonly members: readonly Member[] }>();
const ownRoutes = new WeakMap<Backend, ReadonlyMap<string, Route>>();

function admitted(instance: Instance): Member | Rejection | undefined {
  const known = admissions.get(instance);
  if (known !== undefined) return known.member;
  const member = admit(instance);
  admissions.set(instance, { member });
  return member;
}

/** Whether the instance asks for load balancing and is valid. A conflict between services may still keep it out. */
export const isAdmitted = (instance: Instance): boolean => {
  const member = admitted(instance);
  return member !== undefined && !("level" in member);
};

function candidate(service: string, members: readonly Member[]): Candidate {
  const [first] = members;
  const known = first === undefined ? undefined : candidates.get(first);
  if (known?.members.length === members.length && members.every((each, i) => each === known.members[i]))
    return known;
  const problems: Problem[] = [];
  const made = { backend: toBackend(service, members, problems), problems, members };
  if (first !== undefined) candidates.set(first, made);
  return made;
}

/** The routes of a service by key: each of its paths on each of its hosts. */
function routesOf(backend: Backend): ReadonlyMap<string, Route> {
  const known = ownRoutes.get(backend);
  if (known !== undefined) return known;
  const { stripPrefix } = backend.options;
  const targets = [{ backend: backend.name, service: backend.service, share: 100, stripPrefix }];
  const made = new Map<string, Route>();
  for (const host of hostsOf(backend.options))
    for (const path of pathsOf(backend)) {
      const route = { ...(host === undefined ? {} : { host }), path, stripPrefix, targets };
      made.set(routeKey(route), route);
    }
  ownRoutes.set(backend, made);
  return made;
}

function toBackend(service: string, members: readonly Member[], problems: Problem[]): Backend {
  const { options, differing } = serviceOptions(members);
  if (differing > 0)
    problems.push({
      level: "warning",
      subject: service,
      message: `Instances of ${service} have different SERVICE_ options; the options of the majority that serves are in force. After a rolling update, all are the same again.`,
    });
  const alike = members.filter((member) => member.options.service.kind === options.kind);
  if (alike.length < members.length)
    problems.push({
      level: "quarantined",
      subject: service,
      message: `Some instances of ${service} lack the tag ${options.kind} of the others and get no traffic: give all of them the same SERVICE_TAGS.`,
    });
  const passing = alike.some(({ instance }) => instance.healthy && instance.warning !== true);
  const servers = new Map<string, Server>();
  const unhealthy = new Map<string, Unhealthy>();
  for (const { instance, options: own, hostname } of [...alike].sort((a, b) =>
    compare(a.instance.id, b.instance.id),
  )) {
    const name = serverName(instance.address, instance.port);
    if (!instance.healthy || (passing && instance.warning === true)) {
      const { id } = instance;
      const others = unhealthy.get(id)?.servers ?? [];
      unhealthy.set(id, {
        id,
        servers: [...others, name],
        check: instance.healthy ? "warning" : "critical",
      });
      continue;
    }
    const { address, port } = instance;
    const named = hostname === undefined ? {} : { hostname };
    // Several registrations of one address and port are one server, that of the first.
    const server = servers.get(name) ?? {
      name,
      address,
      port,
      ...named,
      weight: weightOf(instance, own),
      ids: [],
    };
    servers.set(name, { ...server, ids: [...server.ids, instance.id] });
  }
  return {
    name: backendName(service),
    service,
    options,
    servers: weighted([...servers.values()].sort((a, b) => compare(a.name, b.name))),
    warning: !passing && servers.size > 0,
    unhealthy: [...unhealthy.values()],
    since: claimedSince(members, options),
  };
}

/** Consul's default weight of 1 stands for our default of 100. */
const perConsulWeight = 100;

/** An instance's weight: its option, else Consul's, which may be above HAProxy's maximum. */
function weightOf({ meta, weights, warning }: Instance, own: InstanceOptions): number {
  if (weights === undefined || Object.hasOwn(meta, weightOption.key)) return own.weight;
  // Instances that Consul warns about serve while no other does. Any answer is then better than a 503.
  return perConsulWeight * (warning === true ? Math.max(weights.warning, 1) : weights.passing);
}

/** Servers with the same shares, and weights that HAProxy takes. */
function weighted(servers: readonly Server[]): readonly Server[] {
  const most = servers.reduce((max, { weight }) => Math.max(max, weight), 0);
  if (most <= maxWeight) return servers;
  const exact =
    most <= maxWeight * perConsulWeight && servers.every(({ weight }) => weight % perConsulWeight === 0);
  const scale = (weight: number) =>
    exact ? weight / perConsulWeight : Math.max(Math.round((weight * maxWeight) / most), Math.min(weight, 1));
  return servers.map((server) => ({ ...server, weight: scale(server.weight) }));
}

/** Whether the service claims a path other than its name. */
const claimsForeignPath = (backend: Backend): boolean =>
  pathsOf(backend).some((path) => path !== `/${backend.service}`);

/**
 * The order in which services claim routes and ports. A service gets its own name, and versions the name they share, before
 * others that ask for that path. Otherwise the service registered first wins, so a new service never takes a route away, and
 * every load balancer sees the same order.
 */
function byClaim(a: Backend, b: Backend): number {
  return (
    Number(claimsForeignPath(a)) - Number(claimsForeignPath(b)) ||
    Number(a.since > b.since) - Number(a.since < b.since) ||
    compare(a.service, b.service)
  );
}

/** Claims all routes of a service, or returns why one is not available. The route that versions share is never available. */
function claimRoute(
  backend: Backend,
  routes: Map<string, Route>,
  families: Families = new Map(),
): string | undefined {
  const own = routesOf(backend);
  for (const [key, route] of own) {
    const [version] = families.get(key) ?? [];
    const owner =
      routes.get(key)?.targets[0]?.service ??
      (version === undefined ? undefined : `a version of ${version.base}`);
    if (owner !== undefined)
      return `Service ${backend.service} wants ${routeUrl(route)}, which ${owner} already has: give one of them another SERVICE_PATH, SERVICE_HOST or SERVICE_NAME.`;
  }
  for (const [key, route] of own) routes.set(key, route);
  return undefined;
}

/** Why the authorities that a service names cannot be used. */
function whyUntrusted(
  { service, options: { tlsCa } }: Backend,
  authorities: RoutingOptions["authorities"],
): string | undefined {
  if (tlsCa === undefined || authorities === undefined) return undefined;
  const why = authorities.has(tlsCa)
    ? authorities.get(tlsCa)
    : "is not in the load balancer's folder of authorities";
  return why === undefined ? undefined : `Service ${service} has SERVICE_TLS_CA=${tlsCa}, which ${why}.`;
}

function claimPort(
  backend: Backend,
  tcp: Map<number, TcpPort>,
  reserved: ReadonlyMap<number, string> | undefined,
): string | undefined {
  const port = backend.options.tcpPort ?? 0;
  const owner = reserved?.get(port) ?? tcp.get(port)?.service;
  if (owner !== undefined)
    return `Service ${backend.service} wants port ${port} of the load balancer, which ${owner} already has: choose another SERVICE_TCP_PORT.`;
  tcp.set(port, { port, backend: backend.name, service: backend.service });
  return undefined;
}

/** Removes duplicate messages about a subject and sorts the rest. */
function dedupe(problems: readonly Problem[]): Problem[] {
  const unique = new Map(problems.map((problem) => [`${problem.subject}\n${problem.message}`, problem]));
  return [...unique].sort(([a], [b]) => compare(a, b)).map(([, problem]) => problem);
}
