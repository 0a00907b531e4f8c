/**
 * The parts of a Switchyard runtime, for other Pulumi programs: each by itself, or all of them as this project's own
 * index.ts puts them together. examples/one-node shows how.
 */

/** Nodes: a Docker Engine with an address and a provider, whatever it runs on. */
export type { DockerNode } from "./nodes/node";
export { bridgeAddressOf, placedOn, quorum } from "./nodes/node";
export { LocalNode, type LocalNodeArgs } from "./nodes/local/node";

/** What runs on every node. */
export { Consul, type ConsulArgs } from "./consul";
export { Registrator, type RegistratorArgs } from "./registrator";
export { LoadBalancer, type LoadBalancerArgs } from "./load-balancer";
export type { Https } from "./config/index";
export type { Ports } from "./ports";

/** The images of these, built on the nodes. */
export { Images } from "./image";

/** Services, in the Swarm of the nodes. */
export { SwarmCluster, type SwarmClusterArgs } from "./swarm-cluster";
export { Service, type ServiceArgs } from "./service";
export { parseService, type HealthCheckConfig, type ServiceConfig } from "./config/services";
export { SwarmService, type SwarmServiceArgs } from "../providers/swarm-service/provider";

/** What they will be routed as, and what a preview compares that with. */
export { describeRoutes, describeServices, planRouting, planStack, readOutputs } from "./routing";

/** Keys that are drawn once and kept: Consul's gossip, the password of the statistics page. */
export { RandomKey } from "./random-key";

/** What no resource of a program may be. */
export { enforcePolicy } from "./policy";
export { UserError } from "../lib/errors";
