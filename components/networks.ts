import * as pulumi from "@pulumi/pulumi";

import { SwarmNetwork } from "../providers/swarm-network";
import type { NetworkInputs } from "../providers/swarm-service/inputs";
import type { ServiceConfig } from "./config/services";
import type { SwarmCluster } from "./swarm-cluster";

/** The networks of all services, across the nodes. */
export class Networks {
  private readonly byName: ReadonlyMap<string, SwarmNetwork>;

  constructor(services: readonly ServiceConfig[], swarm: SwarmCluster) {
    const { manager: host, sshOpts, swarmId } = swarm;
    const names = new Set(services.flatMap(({ networks }) => networks.map(({ name }) => name)));
    this.byName = new Map(
      [...names].map((each) => {
        const name = `${pulumi.getStack()}_${each}`;
        const network = new SwarmNetwork(
          `network-${each}`,
          { host, sshOpts, swarmId, name },
          { dependsOn: swarm },
        );
        return [each, network];
      }),
    );
  }

  /** Those that a service is on; undefined if there are none. */
  of({ networks }: ServiceConfig): pulumi.Output<NetworkInputs>[] | undefined {
    const found = networks.flatMap(({ name, aliases }) => {
      const network = this.byName.get(name);
      return network === undefined ? [] : [network.id.apply((id) => ({ id, aliases }))];
    });
    return found.length === 0 ? undefined : found;
  }
}
