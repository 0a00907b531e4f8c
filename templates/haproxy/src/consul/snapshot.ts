/** The last good catalog on disk, served when Consul does not answer at startup. */
import { readIfThere, writeWhole } from "../../../../lib/files";
import { isMapping, parseJson } from "../../../../lib/values";
import type { Catalog, Instance } from "../../../../routing/types";
import { isWeight } from "./decode";

const format = 1;

export const writeSnapshot = (path: string, catalog: Catalog): Promise<void> =>
  writeWhole(path, JSON.stringify({ format, ...catalog }));

/** The same, indented for people. */
export const formatSnapshot = (catalog: Catalog): string =>
  `${JSON.stringify({ format, ...catalog }, null, 2)}\n`;

/** Undefined if there is no valid snapshot: the load balancer then waits for Consul. */
export async function readSnapshot(path: string): Promise<Catalog | undefined> {
  const content = await readIfThere(path);
  return content === undefined ? undefined : parseSnapshot(content);
}

export function parseSnapshot(content: string): Catalog | undefined {
  const parsed = parseJson(content);
  if (!isMapping(parsed) || parsed["format"] !== format) return undefined;
  const { instances, kv } = parsed;
  if (!Array.isArray(instances) || !instances.every(isInstance) || !isTextRecord(kv)) return undefined;
  return { instances, kv };
}

const isTextRecord = (value: unknown): value is Record<string, string> =>
  isMapping(value) && Object.values(value).every((each) => typeof each === "string");

const isWeights = (value: unknown): boolean =>
  isMapping(value) && isWeight(value["passing"]) && isWeight(value["warning"]);

const isInstance = (value: unknown): value is Instance =>
  isMapping(value) &&
  ["service", "id", "node", "address"].every((key) => typeof value[key] === "string") &&
  typeof value["port"] === "number" &&
  typeof value["healthy"] === "boolean" &&
  ["boolean", "undefined"].includes(typeof value["warning"]) &&
  ["number", "undefined"].includes(typeof value["createIndex"]) &&
  (value["weights"] === undefined || isWeights(value["weights"])) &&
  Array.isArray(value["tags"]) &&
  value["tags"].every((tag) => typeof tag === "string") &&
  isTextRecord(value["meta"]);
