/** Retains instances that disappear from Consul in a suspect way, and probes whether they still listen. */
import { listens } from "../../../../lib/tcp";
import { some } from "../../../../lib/text";
import type { Catalog, Instance } from "../../../../routing/types";
import { addressKey, instanceKey, retain, type Lost, type Retained } from "./retention-policy";

export interface RetentionOptions {
  /** How long an instance is retained. */
  readonly retentionMs: number;
  /** The part of all services or of all instances, from 0 to 1, whose loss at once is suspect. */
  readonly retentionShare: number;
  readonly log: (message: string) => void;
  /** Called when an instance may have to be released: call `filter` again. */
  readonly changed: () => void;
  /** Whether anything listens at the address. Default: tries to connect. */
  readonly probe?: (address: string, port: number) => Promise<boolean>;
}

/** The state of Consul when it gave an answer. */
export interface Circumstances {
  /** Whether Consul answers every query. */
  readonly connected: boolean;
  /** Whether an answer of Consul has been applied since the start. */
  readonly synced: boolean;
}

/**
 * How long Consul stays suspect after it has come back. Agents and Registrator register everything again within seconds;
 * any longer, and an instance that is stopped on purpose would get requests until it stops listening.
 */
const settleMs = 10_000;
/**
 * An instance that has ended is noticed by the moment in which nothing listens there, before another container gets its port.
 * Starting one takes Docker longer than this.
 */
const probeEveryMs = 200;
/** The least time between two probes of the same instance, for each instance that is retained. */
const msPerProbe = 4;
const parallelProbes = 100;

export class Retention {
  retained: ReadonlyMap<string, Retained> = new Map();
  private lost: readonly Lost[] = [];
  private readonly silent = new Set<string>();
  private suspectUntil = 0;
  private reason = "Consul was lost";
  private releasing = false;
  private probing = false;
  private probedAt = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: RetentionOptions) {}

  start(): void {
    this.timer = setInterval(() => {
      if (Date.now() - this.probedAt >= this.retained.size * msPerProbe) void this.probe();
    }, probeEveryMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Treats every loss as suspect until Consul has been back for a while. */
  suspect(why: string): void {
    this.reason = why;
    this.settle();
    this.options.log(`Consul: ${why}. Routes stay until Consul or the instances themselves say otherwise.`);
  }

  /** Consul answers again. */
  back(): void {
    this.settle();
    this.options.log("Consul answers again.");
  }

  /** Releases all retained instances and believes Consul's next answer, at the operator's request. */
  release(): void {
    this.options.log(`released by hand: ${this.retained.size} held instances.`);
    this.releasing = true;
    this.options.changed();
  }

  /** What to route, given what Consul says now and what was in force before. */
  filter(catalog: Catalog, before: Catalog | undefined, circumstances: Circumstances): Catalog {
    const trusted = this.releasing;
    this.releasing = false;
    const suspect = this.whySuspect(circumstances);
    const result = retain({
      before: trusted ? [] : (before?.instances ?? []),
      retained: this.retained,
      lost: trusted ? [] : this.lost,
      now: catalog.instances,
      ...(suspect !== undefined && { suspect }),
      share: this.options.retentionShare,
      silent: this.silent,
      time: Date.now(),
      retentionMs: this.options.retentionMs,
    });
    const earlier = this.retained;
    this.retained = result.retained;
    this.lost = result.lost;
    this.report(earlier);
    // Probes stop when nothing is retained, and an instance that registers again may listen again.
    if (result.retained.size === 0) this.silent.clear();
    if (this.silent.size > 0)
      for (const instance of catalog.instances)
        if (instance.healthy) this.silent.delete(addressKey(instance));
    return { ...catalog, instances: result.instances };
  }

  private settle(): void {
    this.suspectUntil = Date.now() + Math.min(settleMs, this.options.retentionMs);
  }

  private whySuspect({ connected, synced }: Circumstances): string | undefined {
    // Nobody was watching, so an instance that has stopped looks the same as one that Consul has lost.
    if (!synced) return "it was there before the load balancer started";
    return !connected || Date.now() < this.suspectUntil ? this.reason : undefined;
  }

  private report(earlier: ReadonlyMap<string, Retained>): void {
    const fresh = [...this.retained.values()].filter(({ instance }) => !earlier.has(instanceKey(instance)));
    const released = [...earlier.values()].filter(
      ({ instance }) => !this.retained.has(instanceKey(instance)),
    );
    const [first] = fresh;
    if (first !== undefined) {
      const names = some(fresh.map(({ instance }) => `${instance.service} at ${at(instance)}`));
      this.options.log(
        `held: Consul dropped ${names} in a suspicious way (${first.why}); they keep their traffic for up to ${this.options.retentionMs / 1000} s while they listen. To release them now: docker kill -s USR2 CONTAINER`,
      );
      void this.probe();
    }
    if (released.length > 0)
      this.options.log(`no longer held: ${some(released.map(({ instance }) => instance.service))}`);
  }

  private async probe(): Promise<void> {
    if (this.retained.size === 0 || this.probing) return;
    this.probing = true;
    this.probedAt = Date.now();
    const { probe = listens, changed, retentionMs } = this.options;
    const waiting = [...this.retained.values()].map(({ instance }) => instance);
    const worker = async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (await probe(next.address, next.port)) this.silent.delete(addressKey(next));
        else this.silent.add(addressKey(next));
      }
    };
    await Promise.all(Array.from({ length: parallelProbes }, worker)).finally(() => {
      this.probing = false;
    });
    const isOver = ({ instance, since }: Retained) =>
      this.silent.has(addressKey(instance)) || Date.now() - since >= retentionMs;
    if ([...this.retained.values()].some(isOver)) changed();
  }
}

const at = ({ address, port }: Instance): string => `${address}:${port}`;
