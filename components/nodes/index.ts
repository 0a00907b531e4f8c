import { portKeys, type Config, type Target } from "../config";
import { LocalNode } from "./local";
import type { DockerNode } from "./node";

/** What each target gives; the one place where targets are listed. */
const makers: Record<Target, (config: Config) => readonly [DockerNode, ...DockerNode[]]> = {
  local: (config) => [
    new LocalNode("local", { dockerHost: config.dockerHost, ports: portKeys(config.ports) }),
  ],
};

/** The nodes of the stack's target; at least one. */
export function createNodes(config: Config): readonly [DockerNode, ...DockerNode[]] {
  return makers[config.target](config);
}
