import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { UserError } from "../../lib/errors";

/** A machine with a Docker Engine, wherever it comes from. The rest of the program knows nodes only by this interface. */
export interface DockerNode {
  /** Stable name. The names of the node's resources derive from it. */
  readonly name: string;
  /** The address at which other nodes reach it. */
  readonly address: pulumi.Output<string>;
  /** The address at which users reach it. */
  readonly publicAddress: pulumi.Output<string>;
  /** URL of its Docker Engine. Known once the engine answers, so that resources that use it wait until then. */
  readonly host: pulumi.Output<string>;
  /** The same URL, known before the machine exists. Default: {@link host}. */
  readonly url?: pulumi.Output<string>;
  /** Options of `ssh` for `ssh://` URLs, such as key and known hosts. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Output<readonly string[]>;
  /** The virtual machine, if the program created it. The node's resources are deleted and replaced with it. */
  readonly machine?: pulumi.Resource;
  /** Created or updated once the node serves after a change of its machine. */
  readonly returned?: pulumi.Resource;
  /** Its address on Docker's default bridge, at which its containers reach the node's own services. */
  readonly bridgeAddress: pulumi.Output<string>;
  /** Platform of its containers, for example `linux/amd64`. */
  readonly platform: string;
  readonly provider: docker.Provider;
}

/**
 * Options for a resource on a machine that the program may have created: it is replaced with the machine, and is considered
 * deleted with it, because nothing is left to delete it from.
 */
export function boundTo({ machine }: Pick<DockerNode, "machine">): pulumi.CustomResourceOptions {
  return machine === undefined ? {} : { deletedWith: machine, replaceWith: [machine] };
}

/** Options for a resource that the node's own provider creates. */
export function placedOn(node: DockerNode): pulumi.CustomResourceOptions {
  return { provider: node.provider, ...boundTo(node) };
}

/**
 * Options for a volume that the node's own provider creates. On a created machine, it ends with the disk, so Pulumi keeps it:
 * Pulumi would delete it first, in any order, perhaps while its container still uses it
 * (`findResourcesReplacedWith` in Pulumi's step generator).
 */
export function storedOn(node: DockerNode): pulumi.CustomResourceOptions {
  return { ...placedOn(node), ...(node.machine && { retainOnDelete: true }) };
}

/**
 * When Docker starts a node's own containers again. When an engine that was killed starts again, it stops those that
 * still run, and from then on treats `unless-stopped` ones as stopped by hand.
 */
export const restartPolicy = "always";

/**
 * The nodes that run Consul's servers and Swarm's managers: the first 1, 3 or 5. An even number would not tolerate more
 * failures.
 */
export function quorum<Node>(nodes: readonly Node[]): Node[] {
  return nodes.slice(0, nodes.length < 3 ? 1 : nodes.length < 5 ? 3 : 5);
}

/**
 * The bridge address, which must be the same on all nodes: Swarm gives every instance the same DNS server.
 *
 * @throws UserError if it is not
 */
export function commonBridge(nodes: readonly { readonly name: string; readonly bridge: string }[]): string {
  const [first, ...others] = nodes;
  const other = others.find(({ bridge }) => bridge !== first?.bridge);
  if (first === undefined || other === undefined) return first?.bridge ?? "";
  throw new UserError(
    `Docker's default bridge has the address ${first.bridge} on node ${first.name}, but ${other.bridge} on ` +
      `${other.name}. Instances use the same DNS address on every node: write "bip": "${first.bridge}/16" ` +
      `into /etc/docker/daemon.json on ${other.name} and restart Docker there`,
  );
}

/** The address at which instances reach their node's own services: that of Docker's default bridge on every node. */
export function bridgeAddressOf(nodes: readonly DockerNode[]): pulumi.Output<string> {
  return pulumi
    .all(nodes.map(({ name, bridgeAddress }) => bridgeAddress.apply((bridge) => ({ name, bridge }))))
    .apply(commonBridge);
}
