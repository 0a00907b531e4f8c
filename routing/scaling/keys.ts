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
  /** The IDs of the Swarm services whose use is to be measured, a line each. */
  measure: "service/autoscaler/measure",
  /** By node: what its instances use (`usage.ts`). */
  usage: "service/autoscaler/usage/",
  /** The limits that are chosen for Swarm services (`limits.ts`). */
  limits: "service/autoscaler/limits",
  /** By Swarm service: what its instances have used in the last days, for the leader that comes next. */
  history: "service/autoscaler/history/",
  /** By Swarm service: the last runs of a job. */
  jobs: "service/autoscaler/jobs/",
  /** What the autoscaler has decided, and why (`status.ts`). */
  status: "service/autoscaler/status",
} as const;
