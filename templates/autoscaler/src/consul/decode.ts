/** Reads Consul's answers, whose content anybody may have written. Pure. */
import { isMapping } from "../../../../lib/values";
import type { Registration } from "../swarm/types";

export interface Entry {
  readonly value: string;
  /** The index at which it was last written. */
  readonly index: number;
  /** The session that holds it locked, if one does. */
  readonly session?: string;
}

type Json = Readonly<Record<string, unknown>>;

const list = (value: unknown): Json[] => (Array.isArray(value) ? value : []).filter(isMapping);
const isText = (value: unknown): value is string => typeof value === "string";

/** The keys of an answer of the KV store, without the prefix that was asked for. */
export function entriesOf(body: unknown, prefix: string): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const { Key, Value, ModifyIndex, Session } of list(body)) {
    if (!isText(Key) || !Key.startsWith(prefix) || typeof ModifyIndex !== "number") continue;
    entries.set(Key.slice(prefix.length), {
      value: isText(Value) ? Buffer.from(Value, "base64").toString("utf8") : "",
      index: ModifyIndex,
      ...(isText(Session) && Session !== "" && { session: Session }),
    });
  }
  return entries;
}

/** The instances of a service. */
export interface Instances {
  /** How many pass all checks. */
  readonly ready: number;
  /** An index at which the first of those that pass was registered. */
  readonly index: number;
  /** How one of them is registered. */
  readonly registration: Registration;
}

export interface Services {
  readonly byName: ReadonlyMap<string, Instances>;
  /** Nodes that Consul has not given up. */
  readonly alive: ReadonlySet<string>;
  /** Those of them on which a load balancer is registered. */
  readonly balancers: ReadonlySet<string>;
}

/** The service that load balancers register. */
const balancer = "rest";

/**
 * @param nodes answers to `catalog/node-services/NODE`
 * @param failing answers to `health/state/critical` and `health/state/warning`
 */
export function servicesOf(nodes: readonly unknown[], failing: readonly unknown[]): Services {
  const failed = new Set<string>();
  const dead = new Set<string>();
  for (const { Node, ServiceID, Status } of failing.flatMap(list)) {
    if (!isText(Node)) continue;
    if (isText(ServiceID) && ServiceID !== "") failed.add(`${Node}\n${ServiceID}`);
    else if (Status === "critical") dead.add(Node);
  }
  const byName = new Map<string, Instances>();
  const [alive, balancers] = [new Set<string>(), new Set<string>()];
  for (const answer of nodes.filter(isMapping)) {
    const node = isMapping(answer["Node"]) ? answer["Node"]["Node"] : undefined;
    if (!isText(node)) continue;
    if (!dead.has(node)) alive.add(node);
    for (const { ID, Service, Tags, Meta, ModifyIndex } of list(answer["Services"])) {
      if (!isText(ID) || !isText(Service)) continue;
      if (Service === balancer && alive.has(node)) balancers.add(node);
      const passes = alive.has(node) && !failed.has(`${node}\n${ID}`);
      const index = typeof ModifyIndex === "number" ? ModifyIndex : Infinity;
      const found = byName.get(Service);
      byName.set(Service, {
        ready: (found?.ready ?? 0) + Number(passes),
        index: Math.min(found?.index ?? Infinity, passes ? index : Infinity),
        registration: found?.registration ?? {
          name: Service,
          tags: (Array.isArray(Tags) ? (Tags as unknown[]) : []).filter(isText),
          meta: Object.fromEntries(
            Object.entries(isMapping(Meta) ? Meta : {}).filter((pair): pair is [string, string] =>
              isText(pair[1]),
            ),
          ),
        },
      });
    }
  }
  return { byName, alive, balancers };
}

export const nodeNames = (body: unknown): string[] =>
  list(body).flatMap(({ Node }) => (isText(Node) ? [Node] : []));
