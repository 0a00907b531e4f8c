import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { confined, helperLabels } from "./confined";
import { replacesLeftover } from "./leftovers";
import { placedOn, storedOn, type DockerNode } from "./nodes/node";

export interface FilteredSocketArgs {
  readonly node: DockerNode;
  /** The name of the container that filters, and of the volume with its socket. */
  readonly container: string;
  /** Its image, program, limits and capabilities. */
  readonly program: Omit<docker.ContainerArgs, "name" | "user" | "networkMode" | "volumes">;
  /** Properties that the engine adds to. Default: none. */
  readonly ignoreChanges?: string[];
}

/** The folder of a filtered socket, in the container that filters and in those that use it. */
export const socketFolder = (container: string): string => `/run/${container}`;

/** The mount of a container that uses the socket. */
export interface SocketMount {
  readonly volumeName: pulumi.Output<string>;
  readonly containerPath: string;
  readonly readOnly: true;
}

/** A container with the Docker socket and no network, and the mount of the socket that it offers instead. */
export function filteredSocket(
  parent: pulumi.Resource,
  name: string,
  { node, container: containerName, program, ignoreChanges = [] }: FilteredSocketArgs,
): SocketMount {
  const folder = socketFolder(containerName);
  const volume = new docker.Volume(
    name,
    {
      name: containerName,
      driver: "local",
      driverOpts: { type: "tmpfs", device: "tmpfs", o: "size=64k,mode=755" },
    },
    { parent, ...storedOn(node) },
  );
  const container = new docker.Container(
    name,
    {
      ...confined,
      labels: helperLabels(),
      ...program,
      name: containerName,
      // The engine's socket belongs to root.
      user: "0",
      networkMode: "none",
      volumes: [
        { hostPath: "/var/run/docker.sock", containerPath: "/var/run/docker.sock" },
        { volumeName: volume.name, containerPath: folder },
      ],
    },
    { parent, ...placedOn(node), ...replacesLeftover(node), deleteBeforeReplace: true, ignoreChanges },
  );
  // Known once the program runs.
  const volumeName = pulumi.all([volume.name, container.id]).apply(([known]) => known);
  return { volumeName, containerPath: folder, readOnly: true };
}
