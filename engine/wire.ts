/**
 * Property values in Pulumi's wire format: JSON in which signatures mark secrets, unknowns, assets and references to
 * resources (sdk/go/common/resource/properties.go). The state uses the same format.
 */
import { isMapping } from "../lib/values";

export type Wire = null | boolean | number | string | Wire[] | WireMap;
export interface WireMap {
  [key: string]: Wire;
}

export const SIGNATURE = "4dabf18193072939515e22adb298388d";
export const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e";
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export function isSecret(value: Wire | undefined): value is WireMap & { value: Wire } {
  return isMapping(value) && value[SIGNATURE] === SECRET;
}

export function secret(value: Wire): WireMap {
  return { [SIGNATURE]: SECRET, value };
}

/** Applies `change` to every value, innermost first. Marks are preserved. */
export function mapWire(value: Wire, change: (value: Wire) => Wire): Wire {
  if (Array.isArray(value)) return change(value.map((item) => mapWire(item, change)));
  if (!isMapping(value)) return change(value);
  return change(Object.fromEntries(Object.entries(value).map(([k, v]) => [k, mapWire(v, change)])));
}

/** The value as a provider sees it: secrets unwrapped, references to resources replaced by their IDs. */
export function plain(value: Wire): Wire {
  return mapWire(value, (v) => {
    if (isSecret(v)) return v.value;
    if (isMapping(v) && v[SIGNATURE] === RESOURCE) return v.id === "" ? UNKNOWN : (v.id ?? v.urn ?? null);
    return v;
  });
}

export function plainMap(value: WireMap): WireMap {
  return Object.fromEntries(
    Object.entries(value)
      .map(([k, v]) => [k, plain(v)] as const)
      .filter(([, v]) => v !== null),
  );
}

export function masked(value: Wire): Wire {
  return mapWire(value, (v) => (isSecret(v) ? "[secret]" : v === UNKNOWN ? "[unknown]" : v));
}

/** Whether the value, or one in it, meets the condition. */
export function some(value: Wire | undefined, test: (value: Wire) => boolean): boolean {
  if (value === undefined) return false;
  if (test(value)) return true;
  if (Array.isArray(value)) return value.some((item) => some(item, test));
  return isMapping(value) && Object.values(value).some((item) => some(item, test));
}

export const hasSecret = (value: Wire | undefined): boolean => some(value, isSecret);
export const hasUnknown = (value: Wire | undefined): boolean => some(value, (v) => v === UNKNOWN);

/** Marks outputs as secret if their inputs were, because providers do not see the marks. */
export function keepSecret(outputs: WireMap, inputs: WireMap, additional: readonly string[] = []): WireMap {
  return Object.fromEntries(
    Object.entries(outputs).map(([key, value]) =>
      !hasSecret(value) && (hasSecret(inputs[key]) || additional.includes(key))
        ? [key, secret(plain(value))]
        : [key, value],
    ),
  );
}
