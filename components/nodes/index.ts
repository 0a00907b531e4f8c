import type { Config } from "../config/index";
import type { DockerNode } from "./node";

/** At least one. */
export type Nodes = readonly [DockerNode, ...DockerNode[]];

/** What the file of a target exports. */
export interface TargetModule {
  /**
   * Makes the nodes.
   *
   * @throws ConfigError where the configuration is not what the target needs, before anything is made
   */
  readonly createNodes: (config: Config) => Nodes;
}

/** The nodes of the stack's target. */
export function createNodes(config: Config): Nodes {
  // Only this target's file, and whatever SDK of a cloud it needs, is loaded.
  const target = module.require(`./${config.target}`) as TargetModule;
  return target.createNodes(config);
}
