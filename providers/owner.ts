/** Whose a Swarm or a Swarm service is, as a label on it. */
import * as pulumi from "@pulumi/pulumi";

export const OWNER_LABEL = "switchyard.owner";

/** The owner of everything in this stack. The stack's name alone would be the same in another project. */
export function stackOwner(): string {
  return `${pulumi.getProject()}/${pulumi.getStack()}`;
}

/** The owner in a resource's inputs. */
export function ownerOf({ owner }: { readonly owner?: string }): string {
  return owner ?? "switchyard";
}
