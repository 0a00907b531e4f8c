/** How the instances of a Swarm service register in Consul: what Registrator will read from their containers. Pure. */
import { isMapping } from "../../../../lib/values";
import { declarationsOf, imageName, isOn, metadataOf, tagsOf } from "../../../../routing/registration";
import type { Registration } from "./types";

/** Keys that do not become meta. */
const consumed: ReadonlySet<string> = new Set(["id", "name", "tags", "ignore"]);

export type Registered =
  | { readonly registration: Registration | undefined; readonly problem?: undefined }
  | { readonly registration: undefined; readonly problem: string };

/**
 * The registration by the specification of a service: its containers' labels and environment, and its ports. What an image
 * says about itself is not in it. A service that publishes nothing has none.
 */
export function registrationOf(spec: Readonly<Record<string, unknown>>): Registered {
  const task = mapping(spec["TaskTemplate"]);
  const container = mapping(task["ContainerSpec"]);
  const env = list(container["Env"]).filter((each) => typeof each === "string");
  const labels = Object.fromEntries(
    Object.entries(mapping(container["Labels"])).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    ),
  );
  const ports = list(mapping(spec["EndpointSpec"])["Ports"]).filter(isMapping);
  const image = typeof container["Image"] === "string" ? container["Image"] : "";
  const declarations = declarationsOf(env, labels);
  if (declarations.obstacle !== undefined)
    return { registration: undefined, problem: `is not registered: ${declarations.obstacle}` };
  const found = ports.flatMap(({ TargetPort, Protocol }) => {
    const protocol = typeof Protocol === "string" ? Protocol : "tcp";
    const { values, fromPort } = metadataOf(declarations, String(Number(TargetPort)), protocol);
    if (isOn(values.get("ignore"))) return [];
    const given = values.get("name") ?? "";
    const isGroup = ports.length > 1 && !(given !== "" && fromPort.has("name"));
    const name = (given || imageName(image)) + (isGroup ? `-${String(Number(TargetPort))}` : "");
    const meta = Object.fromEntries([...values].filter(([key, value]) => !consumed.has(key) && value !== ""));
    return [{ name, tags: tagsOf(values.get("tags") ?? ""), meta }];
  });
  const [first, ...others] = found;
  if (others.some(({ name }) => name !== first?.name))
    return {
      registration: undefined,
      problem: `registers as ${found.map(({ name }) => name).join(" and ")}: set SERVICE_<port>_IGNORE for all ports but one`,
    };
  return { registration: first };
}

/** A mapping; an empty one for anything else. */
export const mapping = (value: unknown): Readonly<Record<string, unknown>> => (isMapping(value) ? value : {});
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
