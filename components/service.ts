import * as pulumi from "@pulumi/pulumi";

import { loadBalancerHost } from "./load-balancer";
import type { ServiceConfig } from "./config/services";
import { SwarmService } from "../providers/swarm-service/provider";
import type { SwarmCluster } from "./swarm-cluster";

export interface ServiceArgs {
  readonly config: ServiceConfig;
  readonly swarm: SwarmCluster;
  /** The image, on every node that may run the service. */
  readonly image: pulumi.Input<string>;
  /** Where the instances ask for names: Consul's DNS, at the address that every node has on its own Docker bridge. */
  readonly dns: pulumi.Input<string>;
}

/** A service: instances that Swarm spreads over the nodes and Registrator makes known to the load balancers. */
export class Service extends pulumi.ComponentResource {
  constructor(name: string, args: ServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Service", name, {}, opts);
    const { config } = args;
    const { command, limits, healthCheck } = config;

    new SwarmService(
      name,
      {
        host: args.swarm.manager,
        sshOpts: args.swarm.sshOpts,
        swarmId: args.swarm.swarmId,
        name: config.swarmName,
        image: args.image,
        ...(command && { args: [...command] }),
        replicas: config.replicas,
        port: { target: config.port },
        env: config.env,
        labels: registration(config),
        dns: [args.dns],
        // Every node has a load balancer; of them all DNS would name any, this is the one next door.
        hosts: { [loadBalancerHost]: args.dns },
        ...(limits && { limits }),
        ...(typeof healthCheck === "object" && {
          healthCheck: { ...healthCheck, test: ["CMD", ...healthCheck.command] },
        }),
        stopGracePeriodSeconds: config.stopGracePeriodSeconds,
      },
      { parent: this },
    );
    this.registerOutputs();
  }
}

/** Labels by which Registrator registers the instances; see its conventions. */
export function registration({ name, type, meta, healthCheck }: ServiceConfig): Record<string, string> {
  const options = Object.entries(meta).map(
    ([key, value]) => [`SERVICE_${key.toUpperCase()}`, value] as const,
  );
  return {
    ...Object.fromEntries(options),
    SERVICE_NAME: name,
    SERVICE_TAGS: type,
    // For the policy, which cannot see into an image.
    ...(healthCheck === "image" && { "switchyard.healthcheck": "image" }),
  };
}
