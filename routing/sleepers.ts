/** Services that sleep: Consul's KV has a record of each, by which its routes stay while it has no instance. */
import { backendName, parseServiceName, show, type Parsed } from "./grammar";
import { scalingKeys } from "./scaling/keys";
import { parseSleeping } from "./scaling/sleeping";
import { parseOptions } from "./service-options";
import type { Backend, Records, ServiceOptions } from "./types";

export interface SleepersRead {
  /** The backend of each, without instances, by service. */
  readonly backends: ReadonlyMap<string, Backend>;
  /** The records in force, by key: the last usable value of each. */
  readonly records: Records;
  /** One message per key with an unusable value. */
  readonly problems: readonly { readonly key: string; readonly message: string }[];
}

/** The same value always gives the same object, so that callers can reuse what they derived from it. */
const known = new WeakMap<Readonly<Record<string, string>>, Map<string, Parsed<Backend>>>();

/** Reads the records; for an unusable value, the one in `lastGood`. */
export function readSleepers(
  values: Readonly<Record<string, string>>,
  lastGood: Records = new Map(),
): SleepersRead {
  const read = known.get(values) ?? new Map<string, Parsed<Backend>>();
  known.set(values, read);
  const backends = new Map<string, Backend>();
  const records = new Map<string, string>();
  const problems: { key: string; message: string }[] = [];
  const backendOf = (key: string, value: string): Parsed<Backend> => {
    const id = `${key}\n${value}`;
    const found = read.get(id) ?? toBackend(key, value);
    read.set(id, found);
    return found;
  };
  for (const [key, value] of Object.entries(values)) {
    if (!key.startsWith(scalingKeys.sleeping)) continue;
    const parsed = backendOf(key, value);
    const before = lastGood.get(key);
    if (!parsed.ok)
      problems.push({
        key,
        message: `The KV value of ${show(key)} ${parsed.error}; ${before === undefined ? "the service has no route while it sleeps" : "the last usable value stays in force"}.`,
      });
    const used = parsed.ok ? value : before;
    const backend = used === undefined ? undefined : backendOf(key, used);
    if (used === undefined || backend?.ok !== true) continue;
    records.set(key, used);
    backends.set(backend.value.service, backend.value);
  }
  return { backends, records, problems };
}

function toBackend(key: string, value: string): Parsed<Backend> {
  const service = key.slice(scalingKeys.sleeping.length);
  const name = parseServiceName(service);
  if (!name.ok) return { ok: false, error: `is about ${show(service)}, which ${name.error}` };
  const record = parseSleeping(value);
  if (!record.ok) return record;
  const options = parseOptions(record.value.tags, record.value.meta);
  if (options === undefined) return { ok: false, error: "has no tag that asks for load balancing" };
  return options.ok ? { ok: true, value: asleep(service, options.value.service) } : options;
}

const asleep = (service: string, options: ServiceOptions): Backend => ({
  name: backendName(service),
  service,
  options,
  servers: [],
  warning: false,
  unhealthy: [],
  since: Infinity,
});
