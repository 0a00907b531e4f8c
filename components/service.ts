import * as pulumi from "@pulumi/pulumi";

import { loginsFor, registryOf, type Logins } from "../lib/credentials";
import { given } from "../lib/values";
import { writeScheduleLabels } from "../routing/jobs/schedule";
import { decisive } from "../routing/registration";
import { writeLabels, type Scaling } from "../routing/scaling/labels";
import { loadBalancerHost } from "./load-balancer";
import type { HealthCheckConfig, ServiceConfig } from "./config/services";
import { isWritten } from "./config/volumes";
import { SwarmService } from "../providers/swarm-service/provider";
import type { Networks } from "./networks";
import type { SwarmFiles } from "./swarm-files";
import { mountsOf, type Volumes } from "./volumes";
import type { SwarmCluster } from "./swarm-cluster";

export interface ServiceArgs {
  readonly config: ServiceConfig;
  readonly swarm: SwarmCluster;
  /** The volumes of all services. Without it, no service is pinned to the node of its volumes. */
  readonly volumes?: Volumes | undefined;
  /** The secrets and configs of all services. */
  readonly files?: SwarmFiles | undefined;
  /** The networks of all services. */
  readonly networks?: Networks | undefined;
  /** Logins for registries, by host. */
  readonly logins?: Logins | undefined;
  /** The image, on every node that may run the service. */
  readonly image: pulumi.Input<string>;
  /** DNS server of the instances: Consul, at the Docker bridge address that is the same on every node. */
  readonly dns: pulumi.Input<string>;
}

/** A service: Swarm spreads its instances across the nodes, and Registrator registers them for the load balancers. */
export class Service extends pulumi.ComponentResource {
  /** Its ID in the Swarm, known once it is up to date. */
  readonly serviceId: pulumi.Output<string>;

  constructor(name: string, args: ServiceArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Service", name, {}, opts);
    const { config } = args;
    const { command, limits, healthCheck, placement } = config;
    const networks = args.networks?.of(config);
    const constraints = [...(placement?.constraints ?? []), ...(args.volumes?.constraintsOf(config) ?? [])];
    // Pulumi only says that `services` contains secrets, not which values they are.
    const guarded = <T>(value: T) =>
      (config.hasSecrets === true ? pulumi.secret(value) : value) as pulumi.Input<T>;

    ({ serviceId: this.serviceId } = new SwarmService(
      name,
      {
        host: args.swarm.manager,
        sshOpts: args.swarm.sshOpts,
        swarmId: args.swarm.swarmId,
        name: config.swarmName,
        image: args.image,
        ...(Object.keys(args.logins ?? {}).length > 0 && {
          logins: pulumi.secret(
            pulumi.output(args.image).apply((image) => loginsFor(registryOf(image), args.logins ?? {})),
          ),
        }),
        ...(config.entrypoint && { command: [...config.entrypoint] }),
        ...(command && { args: guarded([...command]) }),
        ...(config.before && { before: guarded([...config.before]) }),
        ...scaling(config),
        ...(config.type !== "none" && { ports: portsOf(config).map(({ port: target }) => ({ target })) }),
        env: guarded(config.env),
        // A node that is no manager only sees those of the containers.
        labels: { ...registration(config), ...writeLabels(automatic(config)) },
        dns: [args.dns],
        // DNS would return the load balancer of any node; this entry points to the local one.
        hosts: { ...config.extra_hosts, [loadBalancerHost]: args.dns },
        ...(networks && { networks }),
        ...(limits && { limits }),
        ...(typeof healthCheck === "object" && { healthCheck: guarded(inDockersTerms(healthCheck)) }),
        ...run(config),
        ...args.files?.of(config),
        ...(constraints.length > 0 && { constraints }),
        // A preview knows the IDs of the nodes that are there.
        ...(config.rebalance && {
          spreadOver: pulumi.all(args.swarm.nodes.map(({ id }) => id)).apply((ids) => [...ids].sort()),
        }),
        stopGracePeriodSeconds: config.stopGracePeriodSeconds,
      },
      // Once every node has joined, so that the first instances spread across all of them.
      { parent: this, dependsOn: [args.swarm] },
    ));
    this.registerOutputs();
  }
}

const inDockersTerms = ({ command, ...times }: HealthCheckConfig) => ({
  test: ["CMD", ...command],
  ...times,
});

/** How instances run and are replaced: no two may write to the same files of a node. */
function run(config: ServiceConfig) {
  const mounts = mountsOf(config);
  const { placement, update, restart_policy: restart, ulimits, logging } = config;
  // With as many instances as there is room for, another one could not start before an old one has stopped.
  const stopsFirst = config.volumes.some(isWritten) || placement?.max_replicas_per_node !== undefined;
  const updateConfig = given({
    // Each run of a job takes the place of the last one, however that one ended.
    ...(config.schedule && { failureAction: "continue" as const, monitorSeconds: 0.001 }),
    order: stopsFirst || config.schedule ? ("stop-first" as const) : undefined,
    ...given({
      parallelism: update?.parallelism,
      delaySeconds: update?.delay,
      monitorSeconds: update?.monitor,
      order: update?.order,
      failureAction: update?.failure_action,
    }),
  });
  return given({
    mounts: mounts.length > 0 ? mounts : undefined,
    updateConfig: Object.keys(updateConfig).length > 0 ? updateConfig : undefined,
    restartPolicy:
      (restart ?? config.schedule) &&
      given({
        condition: restart?.condition ?? (config.schedule && ("none" as const)),
        delaySeconds: restart?.delay,
        maxAttempts: restart?.max_attempts,
        windowSeconds: restart?.window,
      }),
    global: config.mode === "global" || undefined,
    spread: placement?.spread,
    maxReplicasPerNode: placement?.max_replicas_per_node,
    user: config.user,
    readOnly: config.read_only || undefined,
    init: config.init || undefined,
    capAdd: config.cap_add.length > 0 ? config.cap_add : undefined,
    capDrop: config.cap_drop.length > 0 ? config.cap_drop : undefined,
    ulimits,
    stopSignal: config.stop_signal,
    logging,
  });
}

/** How many instances Swarm runs, and the labels from which the autoscaler knows in which range, and which limits it chooses. */
function scaling(config: ServiceConfig) {
  const { replicas } = config;
  const isRange = typeof replicas === "object";
  const labels = {
    ...writeLabels({ ...(isRange && { replicas }), ...automatic(config) }),
    ...(config.schedule && writeScheduleLabels(config.schedule)),
  };
  return {
    replicas: isRange ? { min: replicas.min, max: replicas.max } : replicas,
    ...(Object.keys(labels).length > 0 && { serviceLabels: { ...labels } }),
  };
}

/** The limits that the autoscaler chooses. */
function automatic({ limits: { memoryBytes, cpus } = {} }: ServiceConfig): Scaling {
  return {
    ...(typeof memoryBytes === "object" && { memory: memoryBytes }),
    ...(typeof cpus === "object" && { cpus }),
  };
}

/** Everything that a service listens on. */
const portsOf = ({ port, name, type, meta, ports }: ServiceConfig) => [{ port, name, type, meta }, ...ports];

/** The labels from which Registrator registers the instances, and nothing else: images are not trusted. */
export function registration(config: ServiceConfig): Record<string, string> {
  const { name, type, ports, healthCheck } = config;
  if (type === "none") return decisive({ SERVICE_NAME: name, SERVICE_IGNORE: "true" });
  const labels = portsOf(config).flatMap(({ port, name: NAME, type: TAGS, meta }) => {
    // Without a number, they would apply to all ports.
    const prefix = ports.length === 0 ? "SERVICE_" : `SERVICE_${port}_`;
    return Object.entries({ ...meta, NAME, TAGS }).map(
      ([key, value]) => [`${prefix}${key.toUpperCase()}`, value] as const,
    );
  });
  return {
    ...decisive(Object.fromEntries(labels)),
    // For the policy, which cannot inspect the image.
    ...(healthCheck === "image" && { "switchyard.healthcheck": "image" }),
  };
}
