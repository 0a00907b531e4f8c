/** What Consul's KV keeps of a service that sleeps, so that its routes stay while it has no instance. */
import { isMapping, parseJson } from "../../lib/values";
import { ok, refuse, type Parsed } from "../grammar";

/** The tags and routing options with which its instances register. */
export interface SleepingService {
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
}

const longest = 16_384;
const isText = (value: unknown): value is string => typeof value === "string";

export const encodeSleeping = ({ tags, meta }: SleepingService): string => JSON.stringify({ tags, meta });

/** Reads a record that anybody may have written. Tags and options are as hostile as those of a registration. */
export function parseSleeping(value: string): Parsed<SleepingService> {
  if (value.length > longest) return refuse(`has more than ${longest} characters`);
  const read = parseJson(value);
  if (read === undefined) return refuse("is not JSON");
  if (!isMapping(read)) return refuse("is not a mapping with tags and meta");
  const { tags, meta } = read;
  if (!Array.isArray(tags) || !tags.every(isText)) return refuse("has tags that are not a list of texts");
  if (!isMapping(meta) || !Object.values(meta).every(isText))
    return refuse("has a meta that is not a mapping of texts");
  return ok({ tags, meta: meta as Readonly<Record<string, string>> });
}
