import type { Nodes, NodesConfig } from "./target";
import { targetOf, type TargetName } from "./targets";

/** Creates the nodes of the stack's target. */
export function createNodes(config: NodesConfig & { readonly target: TargetName }): Nodes {
  return targetOf(config.target).createNodes(config);
}
