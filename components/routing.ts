import { leadsTo, plannedRouting, type PlannedStack, type StackService } from "../routing/planned";
import { isMapping } from "../lib/values";
import { routeUrl } from "../routing/build";
import { describeRange, readReplicas, writeRange, type ReplicaRange } from "../routing/scaling/replicas";
import type { AutoLimit } from "../routing/scaling/resources";
import type { Routing } from "../routing/types";
import { writeBuild } from "./config/build";
import { settingsOf } from "./config/shown";
import { serviceTypes, type ServiceConfig } from "./config/services";
import { portKeys, type Ports } from "./ports";
import { configError } from "./schema";

/** Names of infrastructure services. No other service may register as, for example, `rest.service.consul`. */
const reservedNames: ReadonlyMap<string, string> = new Map([
  ["rest", "the load balancer"],
  ["consul", "Consul itself"],
]);

/**
 * Computes the routing of the services with the load balancer's own code.
 *
 * @throws UserError if the load balancer would reject a service: for a reserved name, a route or port that is already taken,
 *   or an invalid option
 */
export function planRouting(services: readonly ServiceConfig[], ports: Ports): Routing {
  for (const [index, { name: service, ports: further }] of services.entries()) {
    const name = [service, ...further.map((port) => port.name)].find((each) => reservedNames.has(each)) ?? "";
    const owner = reservedNames.get(name);
    if (owner === undefined) continue;
    const cure = `rename it; to keep the path /${name}, set meta.path`;
    throw configError(`services[${index}].name`, `is ${name}, the name of ${owner} in Consul`, cure);
  }
  const routing = plannedRouting(planStack(services, ports));
  for (const { level, subject, message } of routing.problems) {
    if (level !== "quarantined") continue;
    const index = services.findIndex(
      ({ name, ports: further }) => name === subject || further.some((each) => each.name === subject),
    );
    throw configError(`services[${index}]`, "cannot be routed", message);
  }
  return routing;
}

/** The part of the configuration that determines routing, which a preview compares with the deployed stack. */
export function planStack(services: readonly ServiceConfig[], ports: Ports): PlannedStack {
  return { services: services.flatMap(toStackServices), ports: portKeys(ports) };
}

/** A service, and after it each of its further ports. */
function toStackServices(service: ServiceConfig): StackService[] {
  const main = toStackService(service);
  const { replicas } = main;
  const further = service.ports.map(({ port, name, type, meta }): StackService => ({
    name,
    type,
    replicas,
    ...(Object.keys(meta).length === 0 ? {} : { meta }),
    runs: `port ${port} of ${service.name}`,
  }));
  return [main, ...further];
}

function toStackService(service: ServiceConfig): StackService {
  const { name, type, replicas, meta, source, limits } = service;
  const settings = settingsOf(service);
  return {
    name,
    type,
    ...counts(replicas),
    ...(Object.keys(meta).length === 0 ? {} : { meta }),
    runs: "image" in source ? source.image : writeBuild(source.build),
    ...(limits?.cpus === undefined ? {} : { cpus: shownCpus(limits.cpus) }),
    ...(limits?.memoryBytes === undefined ? {} : { memory: shownMemory(limits.memoryBytes) }),
    ...(Object.keys(settings).length === 0 ? {} : { settings }),
  };
}

const counts = (replicas: number | ReplicaRange): Pick<StackService, "replicas" | "range"> =>
  typeof replicas === "number" ? { replicas } : { replicas: Math.max(1, replicas.min), range: replicas };

const shownCpus = (limit: number | AutoLimit): number | string =>
  typeof limit === "object" ? `auto (${limit.min} to ${limit.max})` : limit;

const shownMemory = (limit: number | AutoLimit): string =>
  typeof limit === "object" ? `auto (${size(limit.min)} to ${size(limit.max)})` : size(limit);

/** A size in Docker's notation, in the largest unit that gives a whole number. */
function size(bytes: number): string {
  const units = ["", "k", "m", "g"];
  const power = [3, 2, 1].find((exponent) => bytes % 1024 ** exponent === 0) ?? 0;
  return `${bytes / 1024 ** power}${units[power] ?? ""}`;
}

/**
 * The service behind each URL and port, as a preview shows it: `{ "/hello/v1": "hello/v1 × 3" }`.
 *
 * @param services as in the configuration, for those with a range of instances
 */
export function describeRoutes(
  { routes, tcp, backends }: Routing,
  services: readonly ServiceConfig[] = [],
): Record<string, string> {
  const counts = new Map<string, number | string>(
    backends.map(({ service, servers }) => [service, servers.length]),
  );
  for (const { name, replicas } of services)
    if (typeof replicas === "object") counts.set(name, describeRange(replicas));
  const counted = (service: string): string => `${service} × ${counts.get(service) ?? 0}`;
  const http = routes.map((route) => {
    const targets = route.targets.map((target) => ({ ...target, service: counted(target.service) }));
    return [routeUrl(route), leadsTo(targets)] as const;
  });
  return Object.fromEntries([
    ...http,
    ...tcp.map(({ port, service }) => [`tcp port ${port}`, counted(service)] as const),
  ]);
}

/** The services by name, as a stack output. The next preview compares with it (see `readOutputs`). */
export function describeServices(services: readonly ServiceConfig[]): Record<string, object> {
  return Object.fromEntries(
    services.flatMap(toStackServices).map(({ name, range, ...rest }) => {
      return [name, range === undefined ? rest : { ...rest, replicas: writeRange(range) }];
    }),
  );
}

/** Reads what {@link describeServices} and `portKeys` wrote into a stack's outputs; undefined if it is missing or invalid. */
export function readOutputs(outputs: unknown): PlannedStack | undefined {
  if (!isMapping(outputs) || !isMapping(outputs["services"]) || !isMapping(outputs["ports"]))
    return undefined;
  const services = Object.entries(outputs["services"]).map(([name, value]) => readService(name, value));
  const ports = Object.entries(outputs["ports"]).filter(isNumber);
  return services.every((service) => service !== undefined)
    ? { services, ports: Object.fromEntries(ports) }
    : undefined;
}

function readService(name: string, value: unknown): StackService | undefined {
  if (!isMapping(value)) return undefined;
  const { type, meta = {}, runs, cpus, memory, settings } = value;
  const replicas = readReplicas(value["replicas"]);
  if (!serviceTypes.some((known) => known === type) || !replicas.ok || !isMapping(meta)) return undefined;
  return {
    name,
    type: type as ServiceConfig["type"],
    ...counts(replicas.value),
    meta: texts(meta),
    runs: String(runs),
    ...(typeof cpus === "number" || typeof cpus === "string" ? { cpus } : {}),
    ...(typeof memory === "string" ? { memory } : {}),
    ...(isMapping(settings) ? { settings: texts(settings) } : {}),
  };
}

const texts = (values: object): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)]));

const isNumber = (entry: [string, unknown]): entry is [string, number] => typeof entry[1] === "number";
