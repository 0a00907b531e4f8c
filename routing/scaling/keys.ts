/** The keys in Consul's KV by which autoscalers and load balancers talk to each other. */
import { figuresPrefix } from "./figures";

export const scalingKeys = {
  /** Locked by the autoscaler that decides; the value is its node. While it exists, load balancers write figures. */
  lock: "service/haproxy/autoscaler",
  /** By service: how it is routed while it has no instance (`sleeping.ts`). Load balancers have it in force like a setting. */
  sleeping: "service/haproxy/sleeping/",
  /** By service: a request waits for it to wake. The value is the load balancer's node. */
  wanted: "service/autoscaler/wanted/",
  figures: figuresPrefix,
  /** The IDs of the Swarm services whose processor use decides, a line each. */
  measure: "service/autoscaler/measure",
  /** By node: the processor use of its instances (`usage.ts`). */
  usage: "service/autoscaler/usage/",
  /** What the autoscaler has decided, and why (`status.ts`). */
  status: "service/autoscaler/status",
} as const;
