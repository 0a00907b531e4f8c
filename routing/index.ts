/**
 * The route model: computes routes from registered instances, and the differences between two routings. Pure, without Pulumi,
 * Docker, Consul or HAProxy. The load balancer and the preview share it.
 */
export { buildRouting, routeKey, routeUrl } from "./build";
export type {
  Backend,
  Catalog,
  Instance,
  Problem,
  Route,
  Routing,
  RoutingOptions,
  Server,
  Target,
  TcpPort,
} from "./types";
export type { InstanceOptions, Kind, ServiceOptions } from "./types";
export { optionKeys, parseOptions } from "./service-options";
export { defaultSettings, type Settings } from "./settings";
export { compareRoutings, emptyRouting, type Difference } from "./diff";
export { summarise, toMarkdown, toText } from "./diff-format";
export {
  describeRouting,
  emptyStack,
  leadsTo,
  plannedInstances,
  plannedRouting,
  type PlannedService,
  type PlannedStack,
  type StackService,
} from "./planned";
export { compareStacks, replacedServices, withCounts } from "./stack-diff";
