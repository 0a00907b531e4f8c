/** Reads the state of either engine, which scripts pass on. */
import { isMapping, parseJson } from "./values";

export type StoredResource = Readonly<Record<string, unknown>>;

/** The resources in a state of the embedded engine, or in one that the Pulumi CLI exports; none in anything else. */
export function resourcesIn(state: string): readonly StoredResource[] {
  const parsed = parseJson(state);
  const deployment = isMapping(parsed) ? (parsed["deployment"] ?? parsed) : undefined;
  const resources = isMapping(deployment) ? deployment["resources"] : undefined;
  return (Array.isArray(resources) ? (resources as unknown[]) : []).filter(isMapping);
}
