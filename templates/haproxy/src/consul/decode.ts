/** Decodes Consul's answers field by field: anybody on the network may have registered what is in them. */
import { isMapping } from "../../../../lib/values";
import type { Weights } from "../../../../routing/types";

export interface ConsulService {
  readonly id: string;
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly weights?: Weights;
  readonly createIndex?: number;
}

type Fields = Readonly<Record<string, unknown>>;

const text = (fields: Fields, name: string): string => {
  const value = fields[name];
  return typeof value === "string" ? value : "";
};

function list(value: unknown, what: string): readonly unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw new Error(`Consul's answer for ${what} is not a list`);
  return value as readonly unknown[];
}

/** The address of each node, by name. */
export function decodeNodes(body: unknown): Map<string, string> {
  const nodes = new Map<string, string>();
  for (const each of list(body, "the nodes")) {
    if (isMapping(each) && text(each, "Node") !== "") nodes.set(text(each, "Node"), text(each, "Address"));
  }
  return nodes;
}

/** Even with every character escaped, well below the longest path that Go's server reads. */
const maxNodeNameLength = 1_000;
/** Go's server redirects paths with empty or dot segments, and Consul rejects control characters. */
const unusableInPath = /(?:^|\/)(?:\.{1,2}(?:\/|$)|\/)|\p{Cc}/u;

/** Whether Consul finds a node by this name. It accepts registrations of nodes that it does not find afterwards. */
export const isQueryable = (node: string): boolean =>
  node.length <= maxNodeNameLength && !unusableInPath.test(node);

/**
 * The services of a node; none if Consul has just removed the node. Those with a kind are parts of Consul's service mesh,
 * such as sidecars, which inherit the tags and meta of their service but not its protocol: they are left out. A service that
 * equals one of `known` is returned as that object, so that callers can reuse what they derived from it.
 */
export function decodeNodeServices(
  body: unknown,
  known: readonly ConsulService[] = [],
): readonly ConsulService[] {
  if (body === null || body === "") return [];
  if (!isMapping(body)) throw new Error("Consul's answer for the services of a node is not an object");
  const knownById = new Map(known.map((service) => [service.id, service]));
  return list(body["Services"] ?? null, "the services of a node").flatMap((each) => {
    if (!isMapping(each) || (each["Kind"] ?? "") !== "") return [];
    const service = decodeService(each);
    const old = knownById.get(service.id);
    return [old !== undefined && sameService(old, service) ? old : service];
  });
}

function decodeService(fields: Fields): ConsulService {
  const meta: Record<string, string> = {};
  if (isMapping(fields["Meta"]))
    for (const [key, value] of Object.entries(fields["Meta"]))
      if (typeof value === "string") meta[key] = value;
  const tags = Array.isArray(fields["Tags"]) ? (fields["Tags"] as readonly unknown[]) : [];
  return {
    id: text(fields, "ID"),
    service: text(fields, "Service"),
    address: text(fields, "Address"),
    port: typeof fields["Port"] === "number" ? fields["Port"] : 0,
    tags: tags.filter((tag): tag is string => typeof tag === "string"),
    meta,
    ...decodeWeights(fields["Weights"]),
    ...(typeof fields["CreateIndex"] === "number" && { createIndex: fields["CreateIndex"] }),
  };
}

/** No weights if they are Consul's default, or not what Consul's agent accepts. */
function decodeWeights(value: unknown): { readonly weights?: Weights } {
  const [passing, warning] = isMapping(value) ? [value["Passing"], value["Warning"]] : [];
  if (!isWeight(passing) || !isWeight(warning) || passing === 0) return {};
  return passing === 1 && warning === 1 ? {} : { weights: { passing, warning } };
}

export const isWeight = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65_535;

const sameService = (a: ConsulService, b: ConsulService): boolean =>
  a.id === b.id &&
  a.service === b.service &&
  a.address === b.address &&
  a.port === b.port &&
  a.createIndex === b.createIndex &&
  a.weights?.passing === b.weights?.passing &&
  a.weights?.warning === b.weights?.warning &&
  sameList(a.tags, b.tags) &&
  sameList(Object.entries(a.meta).flat(), Object.entries(b.meta).flat());

/** Whether both lists have the same values in the same order. */
export const sameList = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index]);

/** By node, the ids of the services with a check in some state. An empty id stands for the node itself. */
export type Checks = ReadonlyMap<string, ReadonlySet<string>>;

export function decodeChecks(body: unknown): Checks {
  const checks = new Map<string, Set<string>>();
  for (const each of list(body, "the checks")) {
    if (!isMapping(each)) continue;
    const node = text(each, "Node");
    const services = checks.get(node) ?? new Set();
    checks.set(node, services.add(text(each, "ServiceID")));
  }
  return checks;
}

/** Whether an answer lists nothing: no services of a node, or no checks. Cheaper than to decode it. */
export function listsNothing(body: unknown): boolean {
  const listed = isMapping(body) ? body["Services"] : body;
  return Array.isArray(listed)
    ? listed.length === 0
    : listed === undefined || listed === null || listed === "";
}

export const sameChecks = (a: Checks, b: Checks): boolean =>
  a.size === b.size && [...a].every(([node, services]) => sameList([...services], [...(b.get(node) ?? [])]));

export function decodeKv(body: unknown): Record<string, string> {
  const values: Record<string, string> = {};
  for (const each of list(body, "the KV values")) {
    if (!isMapping(each)) continue;
    const key = text(each, "Key");
    if (key === "" || key.endsWith("/")) continue;
    values[key] = Buffer.from(text(each, "Value"), "base64").toString("utf8");
  }
  return values;
}
