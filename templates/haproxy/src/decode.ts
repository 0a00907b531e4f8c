/** Consul's answers, read field by field: anybody on the network may have registered what is in them. */

export interface ConsulService {
  readonly id: string;
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
}

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const text = (fields: Fields, name: string): string => {
  const value = fields[name];
  return typeof value === "string" ? value : "";
};

function list(value: unknown, what: string): readonly unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw new Error(`Consul's answer for ${what} is not a list`);
  return value as readonly unknown[];
}

/** Node name -> address. */
export function decodeNodes(body: unknown): Map<string, string> {
  const nodes = new Map<string, string>();
  for (const each of list(body, "the nodes")) {
    if (isFields(each) && text(each, "Node") !== "") nodes.set(text(each, "Node"), text(each, "Address"));
  }
  return nodes;
}

/** A node that has just gone is answered with null or no services. */
export function decodeNodeServices(body: unknown): ConsulService[] {
  if (body === null || body === "") return [];
  if (!isFields(body)) throw new Error("Consul's answer for the services of a node is not an object");
  return list(body["Services"] ?? null, "the services of a node").flatMap((each) => {
    if (!isFields(each)) return [];
    const meta: Record<string, string> = {};
    if (isFields(each["Meta"]))
      for (const [key, value] of Object.entries(each["Meta"]))
        if (typeof value === "string") meta[key] = value;
    const tags = Array.isArray(each["Tags"]) ? (each["Tags"] as readonly unknown[]) : [];
    return [
      {
        id: text(each, "ID"),
        service: text(each, "Service"),
        address: text(each, "Address"),
        port: typeof each["Port"] === "number" ? each["Port"] : 0,
        tags: tags.filter((tag): tag is string => typeof tag === "string"),
        meta,
      },
    ];
  });
}

export const checkKey = (node: string, service: string): string => `${node}\n${service}`;

/** What checks say against nodes (with an empty service) and services. */
export interface Checks {
  /** With a check that is neither passing nor a warning. */
  readonly critical: ReadonlySet<string>;
  readonly warning: ReadonlySet<string>;
}

export function decodeChecks(body: unknown): Checks {
  const critical = new Set<string>();
  const warning = new Set<string>();
  for (const each of list(body, "the checks")) {
    if (!isFields(each)) continue;
    const status = text(each, "Status");
    if (status === "passing") continue;
    (status === "warning" ? warning : critical).add(checkKey(text(each, "Node"), text(each, "ServiceID")));
  }
  return { critical, warning };
}

export function decodeKv(body: unknown): Record<string, string> {
  const values: Record<string, string> = {};
  for (const each of list(body, "the KV values")) {
    if (!isFields(each)) continue;
    const key = text(each, "Key");
    if (key === "" || key.endsWith("/")) continue;
    values[key] = Buffer.from(text(each, "Value"), "base64").toString("utf8");
  }
  return values;
}
