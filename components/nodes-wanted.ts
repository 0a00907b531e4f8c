import * as pulumi from "@pulumi/pulumi";

import { api, connect } from "../providers/client";
import { nodesWanted, tasksIn } from "../routing/scaling/room";
import type { Service } from "./service";
import type { SwarmCluster } from "./swarm-cluster";

/**
 * How many nodes more, as large as the largest there is, the tasks that wait for room need once all services are up to date.
 * Undefined while a service is not, as in a preview of a new one, and if Docker does not tell.
 */
export function nodesWantedBy(
  { manager, sshOpts }: SwarmCluster,
  services: readonly Service[],
): pulumi.Output<number | undefined> {
  return pulumi
    .all([manager, sshOpts, services.map(({ serviceId }) => serviceId)])
    .apply(async ([host, options, ids]) => {
      if (ids.some((id: unknown) => typeof id !== "string")) return undefined;
      const docker = connect(host, { sshOpts: options });
      const query = { filters: { "desired-state": ["running"] } };
      try {
        const tasks = tasksIn(await api(docker, "GET", "/tasks", { query }));
        return nodesWanted(tasks, await api(docker, "GET", "/nodes"));
      } catch {
        return undefined;
      }
    });
}
