/** Compares properties, and decides between update and replacement. */
import { canonical, isMapping } from "../lib/values";
import { isSecret, mapWire, plain, UNKNOWN, type Wire, type WireMap } from "./wire";

export interface Diff {
  changed: string[];
  replaces: string[];
  deleteBeforeReplace: boolean;
}

export interface Rules {
  /** Properties that change in place; any other change replaces the resource. */
  readonly inPlace?: readonly string[];
  /** Lists whose order matters. All others are treated as sets. */
  readonly lists?: readonly string[];
  readonly defaults?: WireMap;
  /** Always delete the old resource before creating the new one. */
  readonly deleteFirst?: boolean;
}

export const NO_DIFF: Diff = { changed: [], replaces: [], deleteBeforeReplace: false };

/** Normalises a value: absent, null, empty and default values are equal, and lists are sets unless their order matters. */
function normal(key: string, value: Wire | undefined, rules: Rules): Wire {
  const asSet = !rules.lists?.includes(key);
  const result = mapWire(plain(value ?? null), (v) => {
    if (Array.isArray(v)) {
      if (v.length === 0) return null;
      return asSet ? [...v].sort((a, b) => (canonical(a) < canonical(b) ? -1 : 1)) : v;
    }
    if (!isMapping(v)) return v;
    const entries = Object.entries(v).filter(([, item]) => item !== null);
    return entries.length === 0 ? null : Object.fromEntries(entries);
  });
  return result ?? rules.defaults?.[key] ?? null;
}

export function changedKeys(olds: WireMap, news: WireMap, rules: Rules = {}): string[] {
  const keys = new Set([...Object.keys(olds), ...Object.keys(news)]);
  return [...keys]
    .filter((key) => canonical(normal(key, olds[key], rules)) !== canonical(normal(key, news[key], rules)))
    .sort();
}

/** Like the Terraform bridge, deletes first if the name is given: two resources cannot have the same name. */
export function diffByRules(olds: WireMap, news: WireMap, rules: Rules, autoNamed: boolean): Diff {
  const changed = changedKeys(olds, news, rules);
  return {
    changed,
    replaces: changed.filter((key) => !rules.inPlace?.includes(key)),
    deleteBeforeReplace: rules.deleteFirst ?? (!autoNamed && !changed.includes("name")),
  };
}

/** Applies `ignoreChanges` by keeping the old values. A path into a property applies to the whole property. */
export function withoutIgnored(olds: WireMap, news: WireMap, ignored: readonly string[]): WireMap {
  const result = { ...news };
  const keys = ignored.includes("*")
    ? [...Object.keys(olds), ...Object.keys(news)]
    : ignored.map((p) => p.split(/[.[]/, 1)[0] ?? p);
  for (const key of keys) {
    const old = olds[key];
    if (old === undefined) Reflect.deleteProperty(result, key);
    else result[key] = old;
  }
  return result;
}

const MAX_SHOWN = 90;

export function shown(value: Wire | undefined): string {
  if (value === undefined) return "(none)";
  const text = JSON.stringify(
    mapWire(value, (v) => (isSecret(v) ? "[secret]" : v === UNKNOWN ? "[unknown]" : v)),
  );
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
