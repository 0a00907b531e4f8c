import { leadsTo, plannedInstances } from "../model/preview";
import { buildRouting, routeUrl, type Routing } from "../model/routes";
import { portKeys, type Ports } from "./config";
import { ConfigError } from "./config-value";
import type { ServiceConfig } from "./service-config";

/**
 * The routing that the services will have once they run, by the very code that the load balancer routes with.
 *
 * @throws ConfigError where the load balancer would refuse a service: a route or a port taken twice, an option it
 *   does not take
 */
export function planRouting(services: readonly ServiceConfig[], ports: Ports): Routing {
  const routing = buildRouting(
    { instances: services.flatMap((service) => plannedInstances(service, service.replicas)), kv: {} },
    { reservedPorts: new Map(Object.entries(portKeys(ports)).map(([key, port]) => [port, key])) },
  );
  for (const { level, subject, message } of routing.problems) {
    if (level !== "quarantined") continue;
    const index = services.findIndex(({ name }) => name === subject);
    throw new ConfigError(`services[${index}]`, "cannot be routed", message);
  }
  return routing;
}

/** What answers at each URL and port, as a preview shows it: `{ "/hello/v1": "hello/v1 × 3" }`. */
export function describeRoutes({ routes, tcp, backends }: Routing): Record<string, string> {
  const counts = new Map(backends.map(({ service, servers }) => [service, servers.length]));
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
