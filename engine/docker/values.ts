/** Reads plain property values. They come from typed code, so a wrong type is a bug rather than a user's mistake. */
import { randomBytes } from "node:crypto";
import { UserError } from "../../lib/errors";
import { isMapping } from "../../lib/values";
import { UNKNOWN, type Wire, type WireMap } from "../wire";

export const text = (value: Wire | undefined): string | undefined =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;
export const number = (value: Wire | undefined): number | undefined =>
  typeof value === "number" ? value : undefined;
export const flag = (value: Wire | undefined): boolean | undefined =>
  typeof value === "boolean" ? value : undefined;
export const list = (value: Wire | undefined): Wire[] => (Array.isArray(value) ? value : []);
export const texts = (value: Wire | undefined): string[] => list(value).map((item) => text(item) ?? "");
export const maps = (value: Wire | undefined): WireMap[] => list(value).filter((item) => isMapping(item));
export const record = (value: Wire | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries(isMapping(value) ? value : {}).map(([k, v]) => [k, text(v) ?? JSON.stringify(v)]),
  );

/** Converts `[{label, value}]` to a map, as in Docker's API. */
export const labelMap = (value: Wire | undefined): Record<string, string> =>
  Object.fromEntries(maps(value).map((label) => [text(label.label) ?? "", text(label.value) ?? ""]));

/** Leaves out undefined values, so that Docker's own defaults apply. */
export function given<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

/** Adds Pulumi's generated name: the resource's name, a dash and seven random hexadecimal digits. */
export function withName(resource: string, olds: WireMap | undefined, news: WireMap): WireMap {
  if (news.name !== undefined) return news;
  const old = text(olds?.name) ?? "";
  const kept = old.startsWith(`${resource}-`) && /^[0-9a-f]{7}$/.test(old.slice(resource.length + 1));
  return { ...news, name: kept ? old : `${resource}-${randomBytes(4).toString("hex").slice(0, 7)}` };
}

const UNITS: Record<string, number> = { h: 3600e9, m: 60e9, s: 1e9, ms: 1e6, us: 1e3, µs: 1e3, ns: 1 };

/** A duration in Go's notation ("1m30s") as nanoseconds, for Docker's API. */
export function nanoseconds(value: Wire | undefined, property: string): number | undefined {
  if (value === undefined || value === UNKNOWN) return undefined;
  const duration = text(value) ?? "";
  if (duration === "0") return 0;
  const parts = [...duration.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)/gy)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== duration) {
    throw new UserError(
      `\`${property}\`: ${JSON.stringify(value)} is not a duration: write "10s" or "1m30s".`,
    );
  }
  return Math.round(parts.reduce((sum, [, n, unit]) => sum + Number(n) * (UNITS[unit ?? ""] ?? 0), 0));
}

/** The result, or undefined if the engine answers 404. */
export async function orGone<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** The status code of the Docker Engine's answer; undefined for any other error. */
export function statusOf(error: unknown): number | undefined {
  const code = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof code === "number" ? code : undefined;
}
