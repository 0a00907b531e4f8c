import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { ownerLabel, replacesLeftover } from "./leftovers";
import { placedOn, restartPolicy, type DockerNode } from "./nodes/node";

export interface RegistratorArgs {
  readonly node: DockerNode;
  /** Switchyard's own, or `gliderlabs/registrator`, which takes the same arguments. */
  readonly image: pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API. */
  readonly consul: pulumi.Input<string>;
}

/** The container's name. */
const CONTAINER = "registrator";

/** Registrator on one node: keeps the containers that run on its Docker Engine registered in Consul. */
export class Registrator extends pulumi.ComponentResource {
  constructor(name: string, args: RegistratorArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Registrator", name, {}, opts);
    const { node } = args;

    new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        networkMode: "host",
        restart: restartPolicy,
        command: [
          pulumi.interpolate`-ip=${node.address}`,
          "-cleanup",
          pulumi.interpolate`consul://${args.consul}`,
        ],
        labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
        capabilities: { drops: ["ALL"] },
        readOnly: true,
        volumes: [{ hostPath: "/var/run/docker.sock", containerPath: "/tmp/docker.sock" }],
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
      { parent: this, ...placedOn(node), ...replacesLeftover(node), deleteBeforeReplace: true },
    );
    this.registerOutputs();
  }
}
