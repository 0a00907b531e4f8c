import type { Nodes, NodesConfig } from "./target";
import { targetOf, type TargetName } from "./targets";

/** Creates the nodes of the stack's target. */
export function createNodes(config: NodesConfig & { readonly target: TargetName }): Nodes {
  return targetOf(config.target).createNodes(config);
}

/** The networks that may see the statistics page: the administrators', and those that only this computer is in. */
export const adminNetworks = (config: NodesConfig & { readonly target: TargetName }): readonly string[] => [
  ...config.adminCidrs,
  ...(targetOf(config.target).ownNetworks?.(config) ?? []),
];
