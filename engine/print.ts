/** Formats plan, progress and outputs for the user. Secrets are always masked. */
import { shown } from "./diff";
import type { Change, Operation } from "./change";
import { nameOf, type ResourceState } from "./state";
import { masked, plain, type Wire, type WireMap } from "./wire";

const SIGNS: Record<Operation, string> = {
  create: "+ ",
  update: "~ ",
  replace: "+-",
  delete: "- ",
  same: "  ",
};
const DONE: Record<Operation, string> = {
  create: "created",
  update: "updated",
  replace: "replaced",
  delete: "deleted",
  same: "unchanged",
};

/** Shortens `docker:index/container:Container` to `docker:Container`, as the CLI does. */
const shortType = (type: string): string => type.replace(/\/[^:]+:/, ":");

const label = ({ type, urn }: Change): string => `${shortType(type)} ${nameOf(urn)}`;
const properties = ({ changed }: Change): string =>
  changed.length > 0 ? ` [diff: ${changed.join(", ")}]` : "";

/** A refresh has found that a resource is gone. */
export const goneLine = ({ type, name }: { readonly type: string; readonly name: string }): string =>
  `"${name}" (${type}) no longer exists: something else deleted it.`;

/** A refresh could not ask a node's machine. */
export const notAskedLine = (node: string, reason: string): string =>
  `${node} was not asked, and what is on it is taken to be as the state has it: ${reason}`;

export function planLines(change: Change): string[] {
  const { operation, changed, olds, news } = change;
  const head = ` ${SIGNS[operation]} ${label(change)} ${operation}${properties(change)}`;
  const details = changed
    .filter((key) => key !== "__provider" && (key in olds || key in news))
    .map((key) => `        ${key}: ${shown(olds[key])} => ${shown(news[key])}`);
  return [head, ...details];
}

export function startLine(change: Change): string {
  const verb = { create: "creating", update: "updating", replace: "replacing", delete: "deleting", same: "" };
  return ` ${SIGNS[change.operation]} ${label(change)} ${verb[change.operation]}${properties(change)}`;
}

export function doneLine(change: Change, durationMs: number): string {
  return ` ${SIGNS[change.operation]} ${label(change)} ${DONE[change.operation]} (${(durationMs / 1000).toFixed(1)}s)`;
}

export const counted = (changes: readonly Change[]): Change[] => changes.filter((c) => !c.ofReplacement);
export const isChange = (change: Change): boolean => change.operation !== "same";

export function counts(changes: readonly Change[]): Partial<Record<Operation, number>> {
  const result: Partial<Record<Operation, number>> = {};
  for (const { operation } of counted(changes)) result[operation] = (result[operation] ?? 0) + 1;
  return result;
}

export function summary(changes: readonly Change[], planned: boolean): string {
  const all = counts(changes);
  const parts = (["create", "update", "replace", "delete"] as const)
    .filter((operation) => all[operation])
    .map((op) => `${SIGNS[op].trim()} ${String(all[op])} ${planned ? `to ${op}` : DONE[op]}`);
  return [...parts, `${String(all.same ?? 0)} unchanged`].join(", ");
}

export function outputLines(outputs: WireMap): string[] {
  return Object.entries(outputs).map(
    ([key, value]) => `    ${key}: ${JSON.stringify(masked(value), null, 2).replaceAll("\n", "\n    ")}`,
  );
}

/** The changed outputs, such as routes and URLs, with one entry per value. */
export function outputChanges(before: WireMap, after: WireMap): OutputChange[] {
  const olds = leaves(before);
  const news = leaves(after);
  return [...new Set([...olds.keys(), ...news.keys()])].sort().flatMap((path) => {
    const [old, now] = [olds.get(path), news.get(path)];
    // A value that is unknown until `up` may turn out unchanged.
    if (old === now || (old !== undefined && now === UNKNOWN_SHOWN)) return [];
    return [{ path, ...(old !== undefined && { old }), ...(now !== undefined && { new: now }) }];
  });
}

export interface OutputChange {
  readonly path: string;
  readonly old?: string;
  readonly new?: string;
}

export function outputChangeLine({ path, old, new: now }: OutputChange): string {
  if (old === undefined) return `  + ${path}: ${now ?? ""}`;
  return now === undefined ? `  - ${path}: ${old}` : `  ~ ${path}: ${old} => ${now}`;
}

const UNKNOWN_SHOWN = JSON.stringify("[unknown]");

/** Flattens `{ routes: { "/hello": … } }` to `routes./hello`, with secrets masked. */
function leaves(value: Wire, path = "", found = new Map<string, string>()): Map<string, string> {
  const shown = masked(value);
  if (typeof shown === "object" && shown !== null && (path === "" || Object.keys(shown).length > 0)) {
    for (const [key, inner] of Object.entries(shown))
      leaves(inner, path === "" ? key : `${path}.${key}`, found);
  } else found.set(path, JSON.stringify(shown));
  return found;
}

export function outputsJson(outputs: WireMap, showSecrets: boolean): WireMap {
  return (showSecrets ? plain(outputs) : masked(outputs)) as WireMap;
}

/** The events of the Pulumi CLI's `--event-log` that tell what a preview found, one per line, without values. */
export function eventLog(
  gone: readonly Pick<ResourceState, "urn" | "type">[],
  changes: readonly Change[],
): string {
  const step = (
    op: string,
    { urn, type }: Pick<ResourceState, "urn" | "type">,
    diffs: readonly string[],
  ) => ({
    resourcePreEvent: { metadata: { op, urn, type, diffs } },
  });
  return [
    ...gone.map((resource) => step("refresh", resource, [])),
    ...changes.filter(isChange).map((change) => step(change.operation, change, change.changed)),
    { summaryEvent: { resourceChanges: counts(changes) } },
  ]
    .map((event) => `${JSON.stringify(event)}\n`)
    .join("");
}
