/** The schema of `networks` of a service, after Compose's. */
import { isMapping } from "../../lib/values";
import { good, isShown, unknownIn, wrong, type Checked } from "../../routing/scaling/checked";

export interface NetworkReference {
  readonly name: string;
  /** Names of the service on it, beside its own. */
  readonly aliases: readonly string[];
}

const networkName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}$/;
const nameForm = "at most 32 letters, digits, dots, dashes and underscores";
const hostName = /^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9_])?$/;
/** What all instances ask Consul for. */
const reserved = /\.consul$/i;

/** Reads `networks`: a list of names, or a mapping of names to `{ aliases: […] }`. */
export function readNetworks(value: unknown): Checked<readonly NetworkReference[]> {
  const entries: (readonly [unknown, unknown])[] | undefined = Array.isArray(value)
    ? value.map((name: unknown) => [name, {}])
    : isMapping(value)
      ? Object.entries(value)
      : undefined;
  if (entries === undefined)
    return wrong([], isShown(value), "it must be a list of names, or a mapping of names to aliases");
  const found: NetworkReference[] = [];
  for (const [name, options] of entries) {
    if (typeof name !== "string" || !networkName.test(name))
      return wrong([], `has ${JSON.stringify(name)}`, `a network is named by ${nameForm}`);
    if (found.some((each) => each.name === name)) return wrong([], `has ${name} twice`, "remove one");
    const given = options ?? {};
    if (!isMapping(given)) return wrong([name], isShown(options), "it must be a mapping with aliases");
    const unknown = unknownIn(given, ["aliases"]);
    if (unknown !== undefined) return { ok: false, mistake: { ...unknown, path: [name, ...unknown.path] } };
    const { aliases = [] } = given;
    const isHost = (alias: unknown) =>
      typeof alias === "string" && hostName.test(alias) && !reserved.test(alias);
    if (!Array.isArray(aliases) || !aliases.every(isHost))
      return wrong(
        [name, "aliases"],
        isShown(aliases),
        'it must be a list of host names, such as "database"',
      );
    found.push({ name, aliases: aliases as string[] });
  }
  return good(found);
}

/** A network as it was given, in short. */
export const writeNetwork = ({ name, aliases }: NetworkReference): string =>
  aliases.length === 0 ? name : `${name} as ${aliases.join(" and ")}`;
