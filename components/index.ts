/**
 * Switchyard's components for other Pulumi programs, to use one by one or together, as this project's index.ts does. See
 * examples/one-node.
 */

/** Nodes: a Docker Engine with an address and a provider, wherever it runs. */
export type { DockerNode } from "./nodes/node";
export { bridgeAddressOf, placedOn, quorum } from "./nodes/node";
export { LocalNode, type LocalNodeArgs } from "./nodes/local/node";

/** What runs on every node. */
export { Consul, type ConsulArgs } from "./consul";
export { ConsulTokens, type ConsulTokensArgs } from "./consul-tokens";
export { ConsulCertificates, type ConsulCertificatesArgs } from "./consul-certificates";
export { ConsulAccess, type ConsulAccessArgs } from "./consul-access";
export { Registrator, type RegistratorArgs } from "./registrator";
export { Autoscaler, type AutoscalerArgs } from "./autoscaler";
export { Firewall, type FirewallArgs } from "./firewall";
export { LoadBalancer, type LoadBalancerArgs } from "./load-balancer";
export type { Https } from "./config/index";
export type { Ports } from "./ports";

/** Their images, built on the nodes. */
export { Images } from "./image";

/** Services, in a Swarm of the nodes. */
export { SwarmCluster, type SwarmClusterArgs } from "./swarm-cluster";
export { Service, type ServiceArgs } from "./service";
export { SwarmFiles, type SwarmFilesArgs } from "./swarm-files";
export { Networks } from "./networks";
export { Volumes } from "./volumes";
export { parseService, type HealthCheckConfig, type ServiceConfig } from "./config/services";
export { SwarmService, type SwarmServiceArgs } from "../providers/swarm-service/provider";

/** The routing of the services, planned and as stack outputs for the next preview. */
export { describeRoutes, describeServices, planRouting, planStack, readOutputs } from "./routing";

/** Random keys, generated once: for Consul's gossip, for the password of the statistics page. */
export { RandomKey } from "./random-key";

/** The policy that every resource of the program must meet. */
export { enforcePolicy } from "./policy";
export { UserError } from "../lib/errors";
