/** The networks of a compose file, on which services reach each other by name. Pure. */
import { isMapping } from "../lib/values";
import type { Say } from "./fate";
import { list, othersOf, textOf, type Mapping } from "./read";

/** Whether a volume, network or secret of a compose file exists already. */
export const isExternal = (value: unknown): boolean =>
  isMapping(value) && value["external"] !== undefined && value["external"] !== "false";

const lost = new Map([
  ["internal", "services on it reach the world too: only a firewall around the nodes keeps them from it"],
  ["ipam", "Swarm chooses the addresses"],
  ["external", "the stack makes it, or shares the one that it has"],
  ["name", "it is called as in networks of the services"],
]);

/** Says what is lost of the networks of a file. */
export function sayNetworks(networks: Mapping, say: Say): void {
  for (const [name, network] of Object.entries(networks))
    for (const option of othersOf(network, []))
      say(
        `networks.${name}.${option}`,
        "left out",
        lost.get(option) ?? "the stack makes its networks itself",
      );
}

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
function networksOf(name: string, services: Mapping, project: string): unknown {
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

/** Adds the networks of a service, and says what they become. */
export function addNetworks(
  service: Record<string, unknown>,
  original: string,
  given: Mapping,
  file: { readonly services: Mapping; readonly project: string },
  say: Say,
): void {
  const networks = networksOf(original, file.services, file.project);
  if (networks !== undefined) service["networks"] = networks;
  if (isMapping(given["networks"]))
    for (const [network, options] of Object.entries(given["networks"]))
      for (const other of othersOf(options, ["aliases"]))
        say(
          `networks.${network}.${other}`,
          "left out",
          "services have names on networks, as aliases, and no options",
        );
  const names = [...new Set([original, ...list(given["container_name"]).map(textOf)])].join(" or ");
  const on = (isMapping(networks) ? Object.keys(networks) : list(networks)).join(", ");
  const text =
    networks === undefined
      ? "no other service reaches it by name"
      : `networks: services on ${on} reach it as ${names}, at its program's own ports`;
  say("networks", given["networks"] === undefined ? "changed" : "kept", text);
  for (const key of ["container_name", "links"].filter((each) => given[each] !== undefined))
    say(key, "changed", "aliases in networks");
}
