/** The interface of a target: where nodes come from, and everything else that the program needs to know about it. */
import type { z } from "zod";

import { isMapping } from "../../lib/values";
import type { Ports } from "../ports";
import type { DockerNode } from "./node";

/** At least one. */
export type Nodes = readonly [DockerNode, ...DockerNode[]];

/** The parts of the configuration that a target needs. */
export interface NodesConfig {
  /** Number of nodes, for targets that create machines. */
  readonly nodes: number;
  /** Docker URL of target `local`. */
  readonly dockerHost: string;
  /** Machines of target `hosts`, not validated. */
  readonly hosts: unknown;
  /** Settings of the machines that the target creates, not validated. */
  readonly machine: unknown;
  /** Networks that may administer the machines. */
  readonly adminCidrs: readonly string[];
  /** Private key file for SSH to the nodes. */
  readonly sshKey?: string | undefined;
  readonly ports: Ports;
  readonly services: readonly {
    readonly type: string;
    readonly meta: Readonly<Record<string, string>>;
  }[];
}

export type Env = Readonly<Record<string, string | undefined>>;

/** A range of ports that a resource opens to some networks. */
export interface Opening {
  readonly protocol: string;
  readonly from: number;
  readonly to: number;
  readonly sources: readonly string[];
}

/** Reads from a resource's inputs which ports it opens. */
export interface FirewallReader {
  readonly type: string;
  /** The inputs that {@link read} needs. The resource is not created before they are known and checked. */
  readonly inputs: readonly [string, ...string[]];
  readonly read: (inputs: Readonly<Record<string, unknown>>) => readonly Opening[];
}

/** A target; its folder has its name. */
export interface Target {
  /** A description of its nodes for the documentation: "EC2 instances with Debian". */
  readonly summary: string;
  /** Whether it creates machines; `nodes` is their number. */
  readonly createsMachines: boolean;
  /** Whether it needs the Pulumi CLI, because the embedded engine supports no cloud. */
  readonly needsCli: boolean;
  /** Keys of `machine`, or of an entry of `hosts`, with defaults and descriptions. */
  readonly settings: Readonly<Record<string, z.ZodType>>;
  /** The Docker URL that must answer before a preview can run. Default: none. */
  readonly engineAtHand?: (config: Pick<NodesConfig, "dockerHost">) => string;
  /** The stack's machines that are off, so that a preview would wait for them: one phrase each, with the cure. Default: none. */
  readonly machinesOff?: (stack: string) => Promise<readonly string[]>;
  /** The credentials that it needs but cannot find: one phrase each, with the cure. */
  readonly missingCredentials: (env: Env) => readonly string[];
  /** Networks that only this computer and its nodes are in. Default: none. */
  readonly ownNetworks?: (config: Pick<NodesConfig, "machine">) => readonly string[];
  /** How to read its cloud's firewall rules. */
  readonly firewalls: readonly FirewallReader[];
  /**
   * Creates the nodes. Loads what only this target needs, such as a cloud's SDK.
   *
   * @throws UserError before anything is created, if the configuration is invalid for the target
   */
  readonly createNodes: (config: NodesConfig) => Nodes;
}

/** The mappings in a value that should be a list; anything else is ignored. */
export const fields = (list: unknown): Readonly<Record<string, unknown>>[] =>
  Array.isArray(list) ? list.filter(isMapping) : [];

/** The strings in a value that should be a list, with numbers as strings; anything else is ignored. */
export const texts = (list: unknown): string[] =>
  Array.isArray(list)
    ? list.flatMap((each) => (typeof each === "string" || typeof each === "number" ? [String(each)] : []))
    : [];
