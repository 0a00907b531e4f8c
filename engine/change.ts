/** Changes of resources, and how the state records them. */
import { messageOf, UserError } from "../lib/errors";
import type { Diff } from "./diff";
import type { Goal } from "./goal";
import { nameOf, type ResourceState } from "./state";
import { canonical } from "../lib/values";
import { keepSecret, plain, type WireMap } from "./wire";

export type Operation = "create" | "update" | "replace" | "delete" | "same";

export interface Change {
  readonly operation: Operation;
  readonly urn: string;
  readonly type: string;
  readonly changed: readonly string[];
  readonly olds: WireMap;
  readonly news: WireMap;
  /** Deletes the old half of a replacement. Not counted separately. */
  readonly ofReplacement?: boolean;
}

export const deletion = (old: ResourceState): Change => ({
  operation: "delete",
  urn: old.urn,
  type: old.type,
  changed: [],
  olds: old.inputs,
  news: {},
  ...(old.pendingDelete && { ofReplacement: true }),
});

export const change = (
  operation: Operation,
  { urn, type }: Goal,
  changed: readonly string[],
  olds: WireMap,
  news: WireMap,
): Change => ({ operation, urn, type, changed, olds, news });

/** The checked inputs, with secrets marked where the program marked them. */
export const stored = (goal: Goal, news: WireMap): WireMap =>
  keepSecret(
    Object.fromEntries(
      Object.entries(news).map(([key, value]) => {
        const given = goal.inputs[key];
        return [key, given !== undefined && canonical(plain(given)) === canonical(value) ? given : value];
      }),
    ),
    goal.inputs,
  );

export function entry(goal: Goal, id: string | undefined, inputs: WireMap, outputs: WireMap): ResourceState {
  return {
    urn: goal.urn,
    type: goal.type,
    custom: goal.custom,
    ...(id !== undefined && { id }),
    ...(goal.parent !== undefined && { parent: goal.parent }),
    ...(goal.provider !== undefined && { provider: goal.provider }),
    inputs,
    outputs,
    dependencies: goal.dependencies,
    propertyDependencies: goal.propertyDependencies,
    ...(goal.protect && { protect: true }),
    ...(goal.retainOnDelete && { retainOnDelete: true }),
    ...(goal.deletedWith !== undefined && { deletedWith: goal.deletedWith }),
  };
}

/** Adds the resource's name to an error. A bug in the program or the engine keeps its stack trace. */
export function named(error: unknown, { type, urn }: { type: string; urn: string }): unknown {
  if ([TypeError, ReferenceError, RangeError, SyntaxError].some((kind) => error instanceof kind))
    return error;
  const name = nameOf(urn);
  const message = messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
  if (error instanceof UserError)
    return message.includes(name) ? error : new UserError(`"${name}": ${message}`);
  return new UserError(`"${name}" (${type}): ${message}`);
}

/**
 * Extends the difference of the properties by other reasons to change a resource: options of the program, drift found by a
 * refresh, a failed first start, and the replacement of other resources.
 */
export function widened(
  diff: Diff,
  goal: Goal,
  old: ResourceState,
  replaced: ReadonlySet<string>,
  mustReplace: ReadonlySet<string>,
): Diff {
  const changed = [...diff.changed, ...(old.drift ?? []), ...(old.initErrors ? ["(was not ready)"] : [])];
  const replaces = [...diff.replaces];
  const asked = goal.replaceOnChanges;
  replaces.push(
    ...diff.changed.filter((key) => asked.includes("*") || asked.some((p) => p.split(/[.[]/, 1)[0] === key)),
  );
  if (old.provider !== goal.provider) replaces.push("(provider)");
  if (goal.replaceWith.some((urn) => replaced.has(urn))) replaces.push("(replaceWith)");
  if (mustReplace.has(goal.urn) && replaces.length === 0) replaces.push("(a dependency is replaced)");
  return {
    changed: [...new Set([...changed, ...replaces])],
    replaces,
    deleteBeforeReplace: goal.deleteBeforeReplace ?? diff.deleteBeforeReplace,
  };
}
