import type Docker from "dockerode";
import type { Diff } from "../diff";
import { UserError } from "../../lib/errors";
import type { ResourceState } from "../state";
import type { WireMap } from "../wire";

export interface Subject {
  readonly name: string;
  readonly urn: string;
}

export interface Context extends Subject {
  readonly docker: Docker;
  /** The Docker host, as shown to the user. */
  readonly host: string;
  /** Ownership labels for every object that can have labels. */
  readonly ownLabels: Readonly<Record<string, string>>;
  /** Whether the state has a resource with this ID. */
  readonly inState: (id: string) => boolean;
  readonly say: (line: string) => void;
}

export interface Made {
  id: string;
  outputs: WireMap;
}

/** The lifecycle of one resource type on a Docker Engine. Values are plain, without secrets and references. */
export interface Handler {
  /** The supported inputs. Any other is rejected by name. */
  readonly inputs: readonly string[];
  /** The inputs with the provider's additions: names, defaults, hashes. */
  check?(subject: Subject, olds: WireMap | undefined, news: WireMap): Promise<WireMap> | WireMap;
  diff(olds: WireMap, news: WireMap, autoNamed: boolean): Diff;
  /** Fails if the planned creation cannot work. Called before anything changes. */
  plan?(context: Context, news: WireMap): Promise<void>;
  create(context: Context, news: WireMap): Promise<Made>;
  update?(context: Context, old: ResourceState, news: WireMap): Promise<WireMap>;
  delete(context: Context, old: ResourceState): Promise<void>;
  /** Undefined if the resource is gone; otherwise the inputs that it no longer matches. */
  refresh(context: Context, old: ResourceState): Promise<string[] | undefined>;
}

export const STACK_LABEL = "switchyard.stack";
export const URN_LABEL = "switchyard.urn";

/**
 * Throws if the name is taken. An object with the stack's label that is not in its state was left by a run that died between
 * creating and recording it, and may be replaced.
 */
export function refuseForeign(
  { ownLabels, inState, host }: Context,
  kind: "container" | "network" | "volume",
  name: string,
  found: { id: string; labels: Record<string, string> | null | undefined },
): void {
  if (found.labels?.[STACK_LABEL] !== ownLabels[STACK_LABEL]) {
    const remove = `docker ${kind === "container" ? "rm -f" : `${kind} rm`} ${name}`;
    throw new UserError(
      `A ${kind} named "${name}" exists on ${host} and does not belong to this stack: remove it (${remove}) or choose another name.`,
    );
  }
  if (inState(found.id)) {
    throw new UserError(
      `The ${kind} name "${name}" is still used by another resource of this stack: choose another name, or give the new resource an alias of the old one.`,
    );
  }
}
