/** What the Pulumi program needs at preview: the routing of services that do not run yet. */
import type { Kind } from "./meta";
import { routeUrl, type Instance, type Routing } from "./routes";

/** A service of the configuration as an instance of it would be registered. */
export function plannedInstance(service: {
  readonly name: string;
  readonly type: "rest" | Kind;
  readonly meta?: Readonly<Record<string, string>>;
}): Instance {
  return {
    service: service.name,
    id: "planned",
    node: "planned",
    // TEST-NET-1 (RFC 5737): an address that is valid and nobody's.
    address: "192.0.2.1",
    port: 80,
    tags: [service.type],
    meta: service.meta ?? {},
    healthy: true,
  };
}

/** One line for each URL and port, in a stable order, fit for a diff. */
export function describeRouting(routing: Routing): string[] {
  const http = routing.routes.map((route) => {
    const shown = route.targets.map(({ service, share }) =>
      share === 100 ? service : `${share}% ${service}`,
    );
    const why = route.choice === undefined ? "" : ` (${route.choice})`;
    return `${routeUrl(route)} -> ${shown.length === 0 ? "nothing" : shown.join(", ")}${why}`;
  });
  const tcp = routing.tcp.map(({ port, service }) => `tcp port ${port} -> ${service}`);
  return [...http, ...tcp];
}
