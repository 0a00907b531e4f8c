import type * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";

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
