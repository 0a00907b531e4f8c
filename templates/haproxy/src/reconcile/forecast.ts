/** What a change of the routing takes of a running HAProxy that has changed in no other way since its last reload. Pure. */
import { plural, some } from "../../../../lib/text";
import { plannedRouting, type PlannedStack } from "../../../../routing/planned";
import { replacedServices } from "../../../../routing/stack-diff";
import type { Routing } from "../../../../routing/types";
import { assignSlots } from "../config/backend-pool";
import { describeTarget } from "../config/routes";
import { render } from "../config/render";
import { textOf, type RenderOptions } from "../config/types";
import type { MapOperation, Operation } from "../haproxy/types";
import { loaded, plan } from "./planner";
import { toSentences } from "./reasons";
import { describe, mapSentence } from "./report";

/** An operation as `diff --json` shows it. */
type PlainOperation = Readonly<Record<string, string | number>>;

type Steps<Operation> =
  | { readonly kind: "nothing" }
  | { readonly kind: "operations"; readonly operations: readonly Operation[] }
  | { readonly kind: "reload"; readonly reasons: readonly string[] };

export interface Forecast {
  readonly plan: Steps<PlainOperation>;
  readonly sentence: string;
}

export function forecast(before: Routing, after: Routing, options: RenderOptions): Forecast {
  const steps = foresee(before, after, options);
  return {
    plan: steps.kind === "operations" ? { ...steps, operations: steps.operations.map(plain) } : steps,
    sentence: sentence(steps, (operations) => describe(operations, after)),
  };
}

/** Without what only the program needs: the names in the routing, and routes as objects. */
function plain(operation: Operation): PlainOperation {
  const entries = Object.entries(operation).filter(([name]) => name !== "origin" && name !== "service");
  return {
    ...(Object.fromEntries(entries) as PlainOperation),
    ...(operation.kind === "map" ? { value: textOf(operation.value) } : {}),
  };
}

/** What a change of a stack takes of its load balancers. */
export interface StackForecast {
  /** `replacement`: their containers are replaced. */
  readonly kind: Steps<Operation>["kind"] | "replacement";
  /** Why it takes a reload or a replacement. */
  readonly reasons: readonly string[];
  /** Services whose instances are replaced one by one, each by operations. */
  readonly rolled: readonly string[];
  readonly sentence: string;
}

/** A node whose load balancer's container is replaced. */
export interface ReplacedBalancer {
  readonly node: string;
  /** Whether the old container, of an earlier version, ends before the new one starts. */
  readonly pauses: boolean;
}

/** The ports that the load balancer is started with. */
const startedWith: readonly string[] = ["httpPort", "httpsPort", "statsPort", "adminPort", "consulPort"];

/**
 * The same for a stack, whose instances have no addresses yet and are counted instead.
 *
 * @param kv Consul's KV, which is assumed to stay as it is
 * @param replaced what the engine says about the load balancers' containers, which another image replaces
 */
export function forecastStack(
  before: PlannedStack,
  after: PlannedStack,
  kv: Readonly<Record<string, string>> = {},
  replaced: readonly ReplacedBalancer[] = [],
): StackForecast {
  const moved = startedWith.filter((key) => before.ports[key] !== after.ports[key]);
  const first = Object.keys(before.ports).length === 0;
  const rolled = replacedServices(before, after)
    .filter(({ replicas }) => replicas > 0)
    .map(({ name }) => name);
  const rolling = `the instances of ${some(rolled)} are replaced one by one`;
  if ((moved.length > 0 && !first) || replaced.length > 0) {
    const shown = (port: number | undefined) => port ?? "none";
    const reasons = moved.map(
      (key) => `${key} changes from ${shown(before.ports[key])} to ${shown(after.ports[key])}`,
    );
    const nodes = replaced.map(({ node }) => node);
    const of = nodes.length === 0 ? "" : ` of ${some(nodes)}`;
    const which = nodes.length === 1 ? `the load balancer${of} is` : `the load balancers${of} are`;
    const why = reasons.length === 0 ? "" : `, because ${reasons.join("; ")}`;
    const pausing = replaced.filter(({ pauses }) => pauses).map(({ node }) => node);
    const cost =
      pausing.length > 0
        ? `${some(pausing)} cannot be reached for a few seconds`
        : `a new container takes over each, so no request fails${moved.length > 0 ? " on a port that stays" : ""}`;
    const parts = [`${which} replaced${why}`, cost, ...(rolled.length > 0 ? [rolling] : [])];
    return { kind: "replacement", reasons, rolled, sentence: parts.join("; ") };
  }
  const steps = foresee(plannedRouting(before, kv), plannedRouting(after, kv), optionsOf(after));
  const main = sentence(steps, tally);
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

function foresee(before: Routing, after: Routing, options: RenderOptions): Steps<Operation> {
  const running = render(before, options);
  const actual = loaded(running);
  const desired = render(after, options, assignSlots(after, actual, new Map()));
  const { operations, reasons } = plan(actual, desired, running);
  if (reasons.length > 0) return { kind: "reload", reasons: toSentences(reasons) };
  return operations.length === 0 ? { kind: "nothing" } : { kind: "operations", operations };
}

function sentence(steps: Steps<Operation>, tell: (operations: readonly Operation[]) => string): string {
  switch (steps.kind) {
    case "nothing":
      return "nothing to do";
    case "reload":
      return `a reload, because ${steps.reasons.join("; ")}`;
    case "operations":
      return `${plural(steps.operations.length, "operation")}, no reload: ${tell(steps.operations)}`;
  }
}

const signs = { add: "+", return: "+", leave: "-", weight: undefined } as const;

/** Servers counted by service, routes by their URLs. */
function tally(operations: readonly Operation[]): string {
  const counts = new Map<string, { readonly tell: (count: string) => string; count: number }>();
  const routes: string[] = [];
  for (const operation of operations) {
    if ("map" in operation) {
      const said = operation.map === "routes.map" ? routeSentence(operation) : mapSentence(operation);
      if (said !== undefined) routes.push(said);
      continue;
    }
    const { service } = operation.origin;
    const sign = signs[operation.kind];
    const tell = (count: string) =>
      sign === undefined ? `${service}: ${count} with another weight` : `${service} ${sign}${count}`;
    const key = tell("");
    const known = counts.get(key) ?? { tell, count: 0 };
    counts.set(key, { tell, count: known.count + 1 });
  }
  const servers = [...counts.values()].map(({ tell, count }) => tell(plural(count, "instance")));
  return some([...servers, ...routes]) || "shares of versions";
}

function routeSentence(operation: MapOperation): string {
  const [host = "", ...path] = operation.key.split("/");
  const url = `${host === "*" ? "" : host}/${path.slice(0, -1).join("/")}`;
  return operation.kind === "map" && typeof operation.value === "object"
    ? `route ${url} -> ${describeTarget(operation.value)}`
    : `route ${url} gone`;
}
