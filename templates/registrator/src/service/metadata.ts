/** Registrator's SERVICE_* conventions: from a container's environment and labels to what one port says. */

export interface Metadata {
  readonly values: ReadonlyMap<string, string>;
  /** The keys that were set for this port in particular (`SERVICE_80_NAME`). */
  readonly fromPort: ReadonlySet<string>;
}

const prefix = "SERVICE_";

/** Later pairs beat earlier ones and labels come after the environment; what names the port beats what doesn't. */
export function metadataOf(
  env: readonly string[],
  labels: Readonly<Record<string, string>>,
  port: string,
): Metadata {
  const values = new Map<string, string>();
  const fromPort = new Set<string>();
  // Labels that differ in case only would win at random otherwise: the engine keeps them in no order.
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of [...env.flatMap(pairOf), ...sorted]) {
    if (!name.startsWith(prefix)) continue;
    const key = name.slice(prefix.length).toLowerCase();
    const specific = /^(\d+)_(.*)$/s.exec(key);
    if (specific) {
      const [, itsPort, itsKey = ""] = specific;
      if (Number(itsPort) !== Number(port)) continue;
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

/** A comma-separated list; `\,` is a comma inside a tag; empty tags and repetitions are dropped. */
export function tagsOf(list: string): string[] {
  const tags = list.split(/(?<!\\),/).map((tag) => tag.replaceAll("\\,", ","));
  return [...new Set(tags)].filter((tag) => tag !== "");
}

/** Registrator took any value for a yes, `false` included; here a no is a no. */
export function isOn(value: string | undefined): boolean {
  return value !== undefined && !["", "0", "false", "no", "off"].includes(value.trim().toLowerCase());
}
