/** Owners of Swarms and Swarm services, recorded in a label. */
import * as pulumi from "@pulumi/pulumi";

export const OWNER_LABEL = "switchyard.owner";

/** The owner of everything in this stack. Includes the project, because another may have a stack of the same name. */
export function stackOwner(): string {
  return `${pulumi.getProject()}/${pulumi.getStack()}`;
}

/** The owner in a resource's inputs. */
export function ownerOf({ owner }: { readonly owner?: string }): string {
  return owner ?? "switchyard";
}
