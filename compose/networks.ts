/** The networks of a compose file, on which services reach each other by name. Pure. */
import { isMapping } from "../lib/values";
import { list, textOf, type Mapping } from "./read";

/** The names that services have in the stack file: those of the compose file as far as they are names there. */
export const cleaned = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");

/** The name that a network has in the stack file. */
export const networkName = (name: string): string =>
  name.replace(/[^a-zA-Z0-9_.-]+/g, "-").replace(/^[^a-zA-Z0-9]+/, "").slice(0, 32) || "default"; // prettier-ignore

/** Names by which services of the file call each other: their own, `container_name`, those of `links`. */
function aliasesOf(name: string, services: Mapping): string[] {
  const service = services[name];
  const own = [name, ...(isMapping(service) ? [textOf(service["container_name"])] : [])];
  const linked = Object.values(services)
    .flatMap((other) => (isMapping(other) ? list(other["links"]) : []))
    .map((link) => textOf(link).split(":"))
    .filter(([to]) => to === name)
    .map(([, alias = ""]) => alias);
  return [...own, ...linked];
}

/**
 * `networks` of a service in the stack file; undefined if it needs none.
 *
 * @param project what Compose calls the file, for the network that all of its services share
 */
export function networksOf(name: string, services: Mapping, project: string): unknown {
  const service = services[name];
  if (!isMapping(service) || Object.keys(services).length < 2) return undefined;
  const mode = textOf(service["network_mode"]);
  if (mode !== "" && mode !== "bridge") return undefined;
  const given = service["networks"];
  const wanted: Mapping = isMapping(given)
    ? given
    : Object.fromEntries(
        (list(given).length > 0 ? list(given) : ["default"]).map((each) => [textOf(each), {}]),
      );
  const shared = aliasesOf(name, services);
  const found = Object.entries(wanted).map(([network, options]) => {
    const more = isMapping(options) ? list(options["aliases"]).map(textOf) : [];
    const aliases = [...new Set([...shared, ...more])].filter(
      (alias) => alias !== "" && alias !== cleaned(name),
    );
    return [networkName(network === "default" ? project : network), aliases] as const;
  });
  if (found.every(([, aliases]) => aliases.length === 0)) return found.map(([network]) => network);
  return Object.fromEntries(found.map(([network, aliases]) => [network, { aliases }]));
}
