/** What happens to a resource, and how it is then recorded. */
import { messageOf, UserError } from "../lib/errors";
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
  /** The removal of what a replacement left, which is not counted by itself. */
  readonly ofReplacement?: boolean;
}

export const uses = (resource: ResourceState, urn: string): boolean =>
  resource.dependencies.includes(urn) || resource.parent === urn || resource.provider === urn;

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

/** The checked inputs with the program's marks of secrets, as narrow as it made them. */
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

/** The error with the resource in its message; a fault in a program's or the engine's own code keeps its stack. */
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
