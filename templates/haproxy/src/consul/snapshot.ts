/** The last good catalog on disk: what is served when Consul cannot be asked at the start. */
import type { Catalog, Instance } from "../../../../routing/build";
import { isFields } from "./decode";
import { readIfThere, writeWhole } from "../../../../lib/files";

const format = 1;

export const writeSnapshot = (path: string, catalog: Catalog): Promise<void> =>
  writeWhole(path, JSON.stringify({ format, ...catalog }));

/** The same for people to read and to keep: one line for each value. */
export const formatSnapshot = (catalog: Catalog): string =>
  `${JSON.stringify({ format, ...catalog }, null, 2)}\n`;

/** A snapshot that cannot be read is none: the load balancer then waits for Consul. */
export async function readSnapshot(path: string): Promise<Catalog | undefined> {
  const content = await readIfThere(path);
  return content === undefined ? undefined : parseSnapshot(content);
}

export function parseSnapshot(content: string): Catalog | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch {
    return undefined;
  }
  if (!isFields(parsed) || parsed["format"] !== format) return undefined;
  const { instances, kv } = parsed;
  if (!Array.isArray(instances) || !instances.every(isInstance) || !isTextRecord(kv)) return undefined;
  return { instances, kv };
}

const isTextRecord = (value: unknown): value is Record<string, string> =>
  isFields(value) && Object.values(value).every((each) => typeof each === "string");

const isInstance = (value: unknown): value is Instance =>
  isFields(value) &&
  ["service", "id", "node", "address"].every((key) => typeof value[key] === "string") &&
  typeof value["port"] === "number" &&
  typeof value["healthy"] === "boolean" &&
  ["boolean", "undefined"].includes(typeof value["warning"]) &&
  ["number", "undefined"].includes(typeof value["createIndex"]) &&
  Array.isArray(value["tags"]) &&
  value["tags"].every((tag) => typeof tag === "string") &&
  isTextRecord(value["meta"]);
