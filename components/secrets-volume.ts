import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { SecretFiles } from "../providers/secret-files";
import { boundTo, storedOn, type DockerNode } from "./nodes/node";

export interface SecretsVolumeArgs {
  readonly node: DockerNode;
  /** The name of the container that gets the secrets; that of the volume derives from it. */
  readonly container: string;
  /** The container's image. */
  readonly image: pulumi.Input<string>;
  /** The contents, by path. */
  readonly files: pulumi.Input<Record<string, string>>;
  /** The user that the container runs as. Default: 0. */
  readonly user?: number;
}

/** Where containers see their secrets. */
const FOLDER = "/secrets";

/** A container's secrets, in a volume of its own. */
export class SecretsVolume {
  /** The volume's name, known once it has its files. */
  private readonly volumeName: pulumi.Output<string>;

  constructor(name: string, args: SecretsVolumeArgs, parent: pulumi.Resource) {
    const { node, container, image, files, user } = args;
    const volumeName = `${container}-secrets`;
    const volume = new docker.Volume(`${name}-secrets`, { name: volumeName }, { parent, ...storedOn(node) });
    const written = new SecretFiles(
      name,
      { host: node.host, sshOpts: node.sshOpts, volume: volume.name, image, files, user },
      { parent, ...boundTo(node) },
    );
    this.volumeName = pulumi.all([volume.name, written.id]).apply(([known]) => known);
  }

  /** The container's mount. */
  get mount() {
    return { volumeName: this.volumeName, containerPath: FOLDER, readOnly: true };
  }
}
