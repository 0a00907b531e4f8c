/**
 * Registrator's SERVICE_* conventions: reads a port's metadata from a container's environment and labels. `SERVICE_53_UDP_X`
 * is ours: TCP and UDP often share a port.
 */

export interface Metadata {
  readonly values: ReadonlyMap<string, string>;
  /** The keys set for this port specifically (`SERVICE_80_NAME`). */
  readonly fromPort: ReadonlySet<string>;
}

const prefix = "SERVICE_";

/** A label with the names, separated by commas, of the only labels that count. */
const decisiveLabel = "switchyard.labels";

/**
 * These labels and one that makes them decide alone. Docker adds the image's labels to a container's own, which win, so the
 * image can neither change nor add what counts.
 */
export function decisive(labels: Readonly<Record<string, string>>): Record<string, string> {
  return { ...labels, [decisiveLabel]: Object.keys(labels).join(",") };
}

/** The variables and labels that count, those that override others last. */
export function declarationsOf(
  env: readonly string[],
  labels: Readonly<Record<string, string>>,
): readonly (readonly [name: string, value: string])[] {
  const listed = labels[decisiveLabel];
  const named = listed === undefined ? undefined : new Set(listed.split(","));
  const counting = Object.entries(labels).filter(([name]) => named?.has(name) ?? true);
  // The engine keeps labels in no order: without sorting, one of two that differ only in case would win at random.
  const sorted = counting.sort(([a], [b]) => (a < b ? -1 : 1));
  const pairs = [...(named === undefined ? env.flatMap(pairOf) : []), ...sorted];
  return pairs.filter(([name]) => name.startsWith(prefix));
}

/**
 * Labels override the environment, later pairs override earlier ones, and keys with the port override those without. Among
 * them, those with the protocol win.
 */
export function metadataOf(
  env: readonly string[],
  labels: Readonly<Record<string, string>>,
  port: string,
  protocol = "tcp",
): Metadata {
  const values = new Map<string, string>();
  const fromPort = new Set<string>();
  const fromProtocol = new Set<string>();
  for (const [name, value] of declarationsOf(env, labels)) {
    const key = name.slice(prefix.length).toLowerCase();
    const specific = /^(\d+)_(?:(udp|sctp)_)?(.*)$/s.exec(key);
    if (specific) {
      const [, itsPort, itsProtocol, itsKey = ""] = specific;
      if (Number(itsPort) !== Number(port) || (itsProtocol ?? protocol) !== protocol) continue;
      if (itsProtocol !== undefined) fromProtocol.add(itsKey);
      else if (fromProtocol.has(itsKey)) continue;
      values.set(itsKey, value);
      fromPort.add(itsKey);
    } else if (!fromPort.has(key)) {
      values.set(key, value);
    }
  }
  return { values, fromPort };
}

function pairOf(line: string): [string, string][] {
  const at = line.indexOf("=");
  return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)]];
}

/**
 * Splits a comma-separated list; `\,` is a comma inside a tag. Drops empty tags, duplicates, and the blanks and quotes around
 * the list and around a tag.
 */
export function tagsOf(list: string): string[] {
  const tags = unquoted(list)
    .split(/(?<!\\),/)
    .map((tag) => unquoted(tag).replaceAll("\\,", ","));
  return [...new Set(tags)].filter((tag) => tag !== "");
}

/** Without the blanks around it, and the quotes, which `docker run --env-file` keeps. */
function unquoted(value: string): string {
  const text = value.trim();
  return (/^"([^"]*)"$/.exec(text) ?? /^'([^']*)'$/.exec(text))?.[1]?.trim() ?? text;
}

/** Whether a switch is on: any value but empty, 0, false, no and off. To the original Registrator, `false` means on. */
export function isOn(value: string | undefined): boolean {
  return value !== undefined && !["", "0", "false", "no", "off"].includes(unquoted(value).toLowerCase());
}

/** `registry:5000/team/web:1.2@sha256:…` is `web`. */
export function imageName(image: string): string {
  const base = image.slice(image.lastIndexOf("/") + 1);
  return base.split("@")[0]?.split(":")[0] ?? "";
}
