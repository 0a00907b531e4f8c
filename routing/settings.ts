/** The settings in Consul's KV store. If a value is unusable, the last good one stays in force. */
import { kv, parseDuration, parseInteger, show, type Parsed } from "./grammar";

export interface Settings {
  readonly maxconn: number;
  /** The timeouts are in milliseconds. */
  readonly connectTimeoutMs: number;
  readonly clientTimeoutMs: number;
  readonly serverTimeoutMs: number;
  /** How large the headers of a request may be, and how many. */
  readonly headerBytes: number;
  readonly headerFields: number;
}

export const defaultSettings: Settings = {
  maxconn: 4096,
  connectTimeoutMs: 5_000,
  clientTimeoutMs: 50_000,
  serverTimeoutMs: 50_000,
  headerBytes: 32_768,
  headerFields: 200,
};

/** The maximum for the file descriptors of an ordinary container, at two per connection. */
export const maxMaxconn = 500_000;

/** Files that HAProxy opens in addition to its connections: listeners, threads, logs. */
const otherFiles = 500;

/** The maximum number of connections if HAProxy may open `files`: two files per connection, one per instance's check. */
const connectionsIn = (files: number, instances: number): number =>
  Math.max(1, Math.floor((files - otherFiles - instances) / 2));

/** Limits of HAProxy's process. */
export interface Capacity {
  readonly files: number;
  readonly instances: number;
}

const readers: readonly {
  readonly key: string;
  readonly name: keyof Settings;
  readonly parse: (value: string) => Parsed<number>;
}[] = [
  { key: kv.maxconn, name: "maxconn", parse: (value) => parseInteger(value, 1, maxMaxconn) },
  { key: kv.timeout.connect, name: "connectTimeoutMs", parse: parseDuration },
  { key: kv.timeout.client, name: "clientTimeoutMs", parse: parseDuration },
  { key: kv.timeout.server, name: "serverTimeoutMs", parse: parseDuration },
  // HTTP/2 needs buffers of 16 KiB or more.
  { key: kv.headers.bytes, name: "headerBytes", parse: (value) => parseInteger(value, 16_384, 131_072) },
  { key: kv.headers.fields, name: "headerFields", parse: (value) => parseInteger(value, 100, 1_000) },
];

/** The settings as KV values, for the keys that are set. */
export const settingsValues = (
  settings: Settings,
  values: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readers
      .filter(({ key }) => Object.hasOwn(values, key))
      .map(({ key, name }) => [key, String(settings[name])]),
  );

/** The settings by KV key without the common prefix: `maxconn`, `timeouts/server`. */
export const settingEntries = (settings: Settings): [string, number][] =>
  readers.map(({ key, name }) => [key.slice(kv.prefix.length), settings[name]]);

export interface SettingsRead {
  readonly settings: Settings;
  /** One message per key with an unusable value. */
  readonly problems: readonly { readonly key: string; readonly message: string }[];
}

/** Reads the settings; for an unusable value, the one in `lastGood`. */
export function readSettings(
  values: Readonly<Record<string, string>>,
  lastGood: Settings = defaultSettings,
  capacity?: Capacity,
): SettingsRead {
  const settings = { ...defaultSettings };
  const problems: { key: string; message: string }[] = [];
  for (const { key, name, parse } of readers) {
    const value = Object.hasOwn(values, key) ? values[key] : undefined;
    if (value === undefined) continue;
    const parsed = parse(value);
    if (parsed.ok) {
      settings[name] = parsed.value;
    } else {
      settings[name] = lastGood[name];
      problems.push({
        key,
        message: `The KV value ${show(value)} of ${key} ${parsed.error}; ${lastGood[name]} stays in force. Set it with: consul kv put ${key} ${defaultSettings[name]}`,
      });
    }
  }
  if (capacity !== undefined && settings.maxconn !== lastGood.maxconn) {
    const { files, instances } = capacity;
    const most = connectionsIn(files, instances);
    const wanted = settings.maxconn;
    if (Object.hasOwn(values, kv.maxconn) && wanted > most) {
      settings.maxconn = lastGood.maxconn;
      problems.push({
        key: kv.maxconn,
        message: `The KV value ${wanted} of ${kv.maxconn} is more than the ${most} connections that fit the ${files} files which HAProxy may open here; ${lastGood.maxconn} stays in force. Start the load balancer with --ulimit nofile=${wanted * 2 + otherFiles + instances}, or set it with: consul kv put ${kv.maxconn} ${Math.min(most, defaultSettings.maxconn)}`,
      });
    }
  }
  return { settings, problems };
}
