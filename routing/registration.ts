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

/** What one container declares, read once for all of its ports. */
export interface Declarations {
  /** For all ports, by key. */
  readonly general: ReadonlyMap<string, string>;
  /** For one port, those that override others last. */
  readonly ofPorts: ReadonlyMap<number, readonly OfPort[]>;
  /** Why they cannot be used, so that the container must not be registered. */
  readonly obstacle?: string;
  /** Sentences about what is left out. */
  readonly problems: readonly string[];
}

interface OfPort {
  readonly protocol: string | undefined;
  readonly key: string;
  readonly value: string;
}

/** A container is untrusted, and all of its declarations count for each of its ports. */
const most = { declarations: 1_000, lengthOfName: 255, lengthOfValue: 16_384 };

/** Labels override the environment, and later pairs override earlier ones. */
export function declarationsOf(
  env: readonly string[],
  labels: Readonly<Record<string, string>>,
): Declarations {
  const listed = labels[decisiveLabel];
  const named = listed === undefined ? undefined : new Set(listed.split(","));
  const counting = Object.entries(labels).filter(([name]) => named?.has(name) ?? true);
  // The engine keeps labels in no order: without sorting, one of two that differ only in case would win at random.
  const sorted = counting.sort(([a], [b]) => (a < b ? -1 : 1));
  const pairs = [...(named === undefined ? env.flatMap(pairOf) : []), ...sorted].filter(([name]) =>
    name.startsWith(prefix),
  );
  const general = new Map<string, string>();
  const ofPorts = new Map<number, OfPort[]>();
  const short = pairs.filter(
    ([name, value]) => name.length <= most.lengthOfName && value.length <= most.lengthOfValue,
  );
  for (const [name, value] of short.slice(0, most.declarations)) {
    const text = name.slice(prefix.length).toLowerCase();
    const [, port, protocol, key = ""] = /^(\d+)_(?:(udp|sctp)_)?(.*)$/s.exec(text) ?? [];
    if (port === undefined) general.set(text, value);
    else {
      const own = ofPorts.get(Number(port)) ?? [];
      own.push({ protocol, key, value });
      ofPorts.set(Number(port), own);
    }
  }
  return {
    general,
    ofPorts,
    ...(short.length > most.declarations && {
      obstacle: `it has more than ${most.declarations} SERVICE_ variables and labels; remove some of them`,
    }),
    problems:
      short.length < pairs.length
        ? [
            `left out ${pairs.length - short.length} of its SERVICE_ variables and labels: ` +
              `a name has at most ${most.lengthOfName} characters, a value ${most.lengthOfValue}`,
          ]
        : [],
  };
}

/** What counts for a port: keys with the port override those without, and among them, those with the protocol win. */
export function metadataOf(
  { general, ofPorts }: Pick<Declarations, "general" | "ofPorts">,
  port: string,
  protocol = "tcp",
): Metadata {
  const own = ofPorts.get(Number(port)) ?? [];
  const ordered = [undefined, protocol].flatMap((its) => own.filter((each) => each.protocol === its));
  return {
    values: new Map([...general, ...ordered.map(({ key, value }) => [key, value] as const)]),
    fromPort: new Set(ordered.map(({ key }) => key)),
  };
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
