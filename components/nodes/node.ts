import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

/** A machine with a Docker Engine, wherever it comes from. Everything else in the program sees nodes as this. */
export interface DockerNode {
  /** Stable name; the names of all that lives on the node derive from it. */
  readonly name: string;
  /** The address that other nodes reach it by. */
  readonly address: pulumi.Output<string>;
  /** The address that users reach it by. */
  readonly publicAddress: pulumi.Output<string>;
  /** URL of its Docker Engine; known once the engine answers, so that whatever uses it waits for that. */
  readonly host: pulumi.Output<string>;
  /** Options of `ssh` for a host that begins with `ssh://`: the key, the known hosts. Default: the user's own. */
  readonly sshOpts?: pulumi.Output<readonly string[]>;
  /** The virtual machine, where the program made it: what lives on the node goes and is replaced with it. */
  readonly machine?: pulumi.Resource;
  /** Its address on Docker's default bridge, where its containers find the node's own services. */
  readonly bridgeAddress: pulumi.Output<string>;
  /** Platform of its containers, for example `linux/amd64`. */
  readonly platform: string;
  readonly provider: docker.Provider;
}

/**
 * The options of a resource that lives on a machine which the program may have made itself: replaced with it, and gone
 * with it, since there is nobody left to ask for its removal.
 */
export function boundTo({ machine }: Pick<DockerNode, "machine">): pulumi.CustomResourceOptions {
  return machine === undefined ? {} : { deletedWith: machine, replaceWith: [machine] };
}

/** The options of a resource that the node's own provider makes. */
export function placedOn(node: DockerNode): pulumi.CustomResourceOptions {
  return { provider: node.provider, ...boundTo(node) };
}

/**
 * The nodes that hold what the others depend on, Consul's servers and Swarm's managers: the first 1, 3 or 5. An even
 * number would not survive the loss of any more of them.
 */
export function quorum<Node>(nodes: readonly Node[]): Node[] {
  return nodes.slice(0, nodes.length < 3 ? 1 : nodes.length < 5 ? 3 : 5);
}

/** An address that is the same on all nodes, because Swarm gives the same to every instance wherever it runs. */
function common(nodes: readonly { readonly name: string; readonly bridge: string }[]): string {
  const [first, ...others] = nodes;
  const other = others.find(({ bridge }) => bridge !== first?.bridge);
  if (first === undefined || other === undefined) return first?.bridge ?? "";
  throw new Error(
    `Docker's default bridge has the address ${first.bridge} on node ${first.name}, but ${other.bridge} on ` +
      `${other.name}. Instances ask for names at one address wherever they run: write "bip": "${first.bridge}/16" ` +
      `into /etc/docker/daemon.json on ${other.name} and restart Docker there`,
  );
}

/** Where instances on any node find the node's own services: the address of Docker's default bridge. */
export function bridgeAddressOf(nodes: readonly DockerNode[]): pulumi.Output<string> {
  return pulumi
    .all(nodes.map(({ name, bridgeAddress }) => bridgeAddress.apply((bridge) => ({ name, bridge }))))
    .apply(common);
}
