import { tagsOf } from "../../../../routing/registration";

/** The limits of Consul and URLs. Containers are untrusted: an invalid value must affect nothing but itself. */

const isControl = (char: string) => char < " " || (char >= "\u007f" && char <= "\u009f");

export const hasControls = (text: string): boolean => Array.from(text).some(isControl);

/** Quotes and escapes a container's text, so it can neither fake nor break a log line. */
export function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  const escape = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `"${Array.from(short, (char) => (isControl(char) ? escape(char) : char)).join("")}"`;
}

/** The first of the problems and how many others there are, so that a container cannot fill the log. */
export function firstOf(problems: readonly string[], most: number, others: (count: number) => string) {
  const more = problems.length - most;
  return more > 0 ? [...problems.slice(0, most), others(more)] : problems;
}

const maxName = 128;

/**
 * Why this cannot be a service's name or ID; undefined if it can. Names become paths in URLs, and Consul's HTTP server
 * redirects paths with an empty or a dot segment: such a service could be registered but never removed.
 */
export function problemWithName(name: string): string | undefined {
  if (hasControls(name)) return "it contains a control character";
  if (name.trim() !== name || name === "") return "it is empty or begins or ends with a space";
  if (Buffer.byteLength(name) > maxName) return `it is longer than ${maxName} bytes`;
  const segments = name.split("/");
  if (segments.includes("")) return "it begins or ends with a slash or has two in a row";
  if (segments.includes(".") || segments.includes("..")) return 'it has a segment "." or ".."';
  if (name === "consul") return "Consul reserves it";
  return undefined;
}

/** Consul has no limits of its own, and gives every tag to every reader of its catalog. */
const most = { tags: 128, bytesOfTag: 512 };

/** Splits a list of tags into those to register, with `added`, and a sentence for each reason why others are left out. */
export function cleanTags(list: string, added: readonly string[]) {
  const given = tagsOf(list);
  const short = given.filter((tag) => Buffer.byteLength(tag) <= most.bytesOfTag);
  const printable = short.filter((tag) => !hasControls(tag));
  const kept = printable.slice(0, most.tags);
  const leftOut = [
    [given.length - short.length, `have more than ${most.bytesOfTag} bytes`],
    [short.length - printable.length, "contain control characters"],
    [printable.length - kept.length, `are beyond the first ${most.tags}`],
  ] as const;
  const problems = leftOut.filter(([count]) => count > 0);
  return {
    tags: [...new Set([...kept, ...added])],
    problems: problems.map(([count, why]) => `left out ${count} of its tags, which ${why}`),
  };
}

const maxPairs = 64;
const mostBadPairs = 10;

/** Splits pairs into the meta that Consul accepts and sentences about those that it would refuse the service for. */
export function cleanMeta(pairs: Iterable<readonly [string, string]>, limit = maxPairs) {
  const meta: Record<string, string> = {};
  const bad: string[] = [];
  let count = 0;
  for (const [key, value] of Array.from(pairs).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const problem = problemWithPair(key, value);
    if (problem !== undefined) bad.push(`left out meta ${quoted(key)}: ${problem}`);
    else if (++count <= limit) meta[key] = value;
  }
  const tooMany = `left out ${count - limit} meta, the last in order of their keys: at most ${limit} fit`;
  const problems = firstOf(bad, mostBadPairs, (others) => `left out ${others} other invalid meta`);
  return { meta, problems: [...problems, ...(count > limit ? [tooMany] : [])] };
}

function problemWithPair(key: string, value: string): string | undefined {
  if (!/^[a-zA-Z0-9_-]+$/.test(key)) return "a key consists of letters, digits, _ and -";
  if (key.length > 128) return "a key has at most 128 characters";
  if (key.startsWith("consul-")) return "Consul reserves keys that begin with consul-";
  // Assigning it would set the object's prototype.
  if (key === "__proto__") return "the key is reserved";
  if (Buffer.byteLength(value) > 512) return "a value has at most 512 bytes";
  return undefined;
}
