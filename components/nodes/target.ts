/** What a target is: where nodes come from, and all that the rest of the program has to know of it. */
import type { z } from "zod";

import { isMapping } from "../../lib/values";
import type { Ports } from "../ports";
import type { DockerNode } from "./node";

/** At least one. */
export type Nodes = readonly [DockerNode, ...DockerNode[]];

/** What a target is given: the parts of the configuration that decide the nodes. */
export interface NodesConfig {
  /** Number of nodes, for targets that create machines. */
  readonly nodes: number;
  /** Docker Engine of target `local`. */
  readonly dockerHost: string;
  /** Machines of target `hosts`, unchecked. */
  readonly hosts: unknown;
  /** Settings of the machines that the target creates, unchecked. */
  readonly machine: unknown;
  /** Networks that may administer the machines, unchecked. */
  readonly adminCidrs: unknown;
  /** File of the private key for ssh to the nodes. */
  readonly sshKey?: string | undefined;
  readonly ports: Ports;
  readonly services: readonly {
    readonly type: string;
    readonly meta: Readonly<Record<string, string>>;
  }[];
}

export type Env = Readonly<Record<string, string | undefined>>;

/** Ports that a resource opens, and to which networks. */
export interface Opening {
  readonly protocol: string;
  readonly from: number;
  readonly to: number;
  readonly sources: readonly string[];
}

/** Reads from the inputs of a resource what it opens. */
export interface FirewallReader {
  readonly type: string;
  /** The inputs that {@link read} needs; the first that is there keeps the resource from being created too early. */
  readonly inputs: readonly [string, ...string[]];
  readonly read: (inputs: Readonly<Record<string, unknown>>) => readonly Opening[];
}

/** A target is the folder that has its name. */
export interface Target {
  /** What its nodes are, for the documentation: "EC2 instances with Debian". */
  readonly summary: string;
  /** Whether it creates machines, as many as `nodes` says. */
  readonly createsMachines: boolean;
  /** Whether only the Pulumi CLI can create them; the embedded engine has no clouds. */
  readonly needsCli: boolean;
  /** Keys of `machine`, or of an entry of `hosts`, with defaults and descriptions. */
  readonly settings: Readonly<Record<string, z.ZodType>>;
  /** The Docker Engine that has to answer before anything can be previewed. Default: none. */
  readonly engineAtHand?: (config: Pick<NodesConfig, "dockerHost">) => string;
  /** The credentials that it needs and does not find: a phrase each, with its cure. */
  readonly missingCredentials: (env: Env) => readonly string[];
  /** How its cloud writes down what is open to whom. */
  readonly firewalls: readonly FirewallReader[];
  /**
   * Creates the nodes. Loads what only this target needs, such as the SDK of a cloud.
   *
   * @throws UserError if the configuration is not what the target needs, before anything is created
   */
  readonly createNodes: (config: NodesConfig) => Nodes;
}

/** The mappings in a list that a program may have filled with anything. */
export const fields = (list: unknown): Readonly<Record<string, unknown>>[] =>
  Array.isArray(list) ? list.filter(isMapping) : [];

/** The texts in such a list, numbers as they are written. */
export const texts = (list: unknown): string[] =>
  Array.isArray(list)
    ? list.flatMap((each) => (typeof each === "string" || typeof each === "number" ? [String(each)] : []))
    : [];
