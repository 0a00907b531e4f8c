/** What a change of the routing takes of a running HAProxy that has had no other changes since its last reload. Pure. */
import { plannedRouting, type PlannedStack } from "../../../../routing/planned";
import type { Routing } from "../../../../routing/build";
import { replacedServices } from "../../../../routing/stack-diff";
import { assignPlaces } from "../config/backend-pool";
import { render } from "../config/render";
import type { Rendered, RenderOptions } from "../config/types";
import type { Operation } from "../haproxy/types";
import { some } from "../../../../lib/text";
import { loaded, plan, type Plan } from "./planner";
import { describe, isOption, targetOf } from "./report";

export interface Forecast {
  readonly plan: Plan;
  readonly sentence: string;
}

export function forecast(before: Routing, after: Routing, options: RenderOptions): Forecast {
  const { steps, services } = foresee(before, after, options);
  return { plan: steps, sentence: sentence(steps, (operations) => describe(operations, services)) };
}

/** What a change of a stack takes of its load balancers. */
export interface StackForecast {
  /** `replacement`: their containers are made anew, which no load balancer can do without a pause. */
  readonly kind: Plan["kind"] | "replacement";
  /** Why it takes a reload or a replacement. */
  readonly reasons: readonly string[];
  /** Services whose instances are replaced one by one, each by operations. */
  readonly rolled: readonly string[];
  readonly sentence: string;
}

/** Ports that the load balancer was started with. */
const startedWith: readonly string[] = ["httpPort", "httpsPort", "statsPort", "adminPort", "consulPort"];

/**
 * The same for a stack, whose instances have no addresses yet and are counted instead.
 *
 * @param kv Consul's KV, which is taken to stay as it is
 */
export function forecastStack(
  before: PlannedStack,
  after: PlannedStack,
  kv: Readonly<Record<string, string>> = {},
): StackForecast {
  const moved = startedWith.filter((key) => before.ports[key] !== after.ports[key]);
  const first = Object.keys(before.ports).length === 0;
  const rolled = replacedServices(before, after)
    .filter(({ replicas }) => replicas > 0)
    .map(({ name }) => name);
  if (moved.length > 0 && !first) {
    const shown = (port: number | undefined) => port ?? "none";
    const reasons = moved.map(
      (key) => `${key} changes from ${shown(before.ports[key])} to ${shown(after.ports[key])}`,
    );
    const said = `the load balancers are replaced, because ${reasons.join("; ")}`;
    return { kind: "replacement", reasons, rolled, sentence: said };
  }
  const { steps, services } = foresee(
    plannedRouting(before, kv),
    plannedRouting(after, kv),
    optionsOf(after),
  );
  const rolling = `the instances of ${some(rolled)} are replaced one by one`;
  const main = sentence(steps, (operations) => tally(operations, services));
  const onlyRolled = steps.kind === "nothing" && rolled.length > 0;
  return {
    kind: onlyRolled ? "operations" : steps.kind,
    reasons: steps.kind === "reload" ? steps.reasons : [],
    rolled,
    sentence: onlyRolled ? `${rolling}, no reload` : rolled.length > 0 ? `${main}; ${rolling}` : main,
  };
}

/** As in the load balancer's container; only what differs before and after matters. */
const optionsOf = ({ ports }: PlannedStack): RenderOptions => ({
  httpPort: ports["httpPort"] ?? 80,
  statsPort: ports["statsPort"] ?? 1936,
  threads: 1,
  dir: "/var/lib/switchyard",
  runDir: "/var/lib/switchyard/run",
  ipv6: false,
});

function foresee(before: Routing, after: Routing, options: RenderOptions) {
  const running = render(before, options);
  const actual = loaded(running);
  const places = assignPlaces(after, actual, new Map());
  const desired = render(after, options, places);
  return { steps: plan(actual, desired), services: servicesOf(running, desired) };
}

/** The service of each backend. */
const servicesOf = (...configurations: readonly Rendered[]): Map<string, string> =>
  new Map(
    configurations.flatMap(({ backends }) =>
      backends.flatMap(({ name, service }): [string, string][] =>
        service === undefined ? [] : [[name, service]],
      ),
    ),
  );

function sentence(steps: Plan, tell: (operations: readonly Operation[]) => string): string {
  switch (steps.kind) {
    case "nothing":
      return "nothing to do";
    case "reload":
      return `a reload, because ${steps.reasons.join("; ")}`;
    case "operations": {
      const { length } = steps.operations;
      return `${length} ${length === 1 ? "operation" : "operations"}, no reload: ${tell(steps.operations)}`;
    }
  }
}

/** Servers counted by service, routes by name. */
function tally(operations: readonly Operation[], services: ReadonlyMap<string, string>): string {
  const counts = new Map<string, number>();
  const routes: string[] = [];
  for (const operation of operations) {
    if ("map" in operation) {
      if (operation.map === "routes.map") routes.push(routeSentence(operation));
      else if (isOption(operation)) routes.push(describe([operation], services));
      continue;
    }
    const what = { add: "+", return: "+", leave: "-", weight: "weigh" }[operation.kind];
    const key = `${services.get(operation.backend) ?? operation.backend} ${what}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const servers = [...counts].map(([what, count]) => {
    const instances = `${count} ${count === 1 ? "instance" : "instances"}`;
    return what.endsWith(" weigh")
      ? `${what.slice(0, -" weigh".length)}: ${instances} with another weight`
      : `${what}${instances}`;
  });
  return some([...servers, ...routes]) || "shares of versions";
}

function routeSentence(operation: Extract<Operation, { map: unknown }>): string {
  const [host = "", ...path] = operation.key.split("/");
  const url = `${host === "*" ? "" : host}/${path.slice(0, -1).join("/")}`;
  return operation.kind === "unmap" ? `route ${url} gone` : `route ${url} -> ${targetOf(operation.value)}`;
}
