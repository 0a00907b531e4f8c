/** Keeps what Consul has forgotten: when to doubt it, what is held meanwhile, and when that is let go. */
import type { Catalog, Instance } from "../../../../routing/build";
import { hold, instanceKey, place, type Held, type Lost } from "./retention-policy";
import { listens } from "../health/tcp-probe";
import { some } from "../../../../lib/text";

export interface HolderOptions {
  /** Milliseconds. */
  readonly holdTime: number;
  /** The part of all services or of all instances, from 0 to 1, whose loss is suspicious in itself. */
  readonly holdShare: number;
  readonly log: (message: string) => void;
  /** Something may have to be let go: `filter` again. */
  readonly changed: () => void;
  /** Whether anything listens there. */
  readonly probe?: (address: string, port: number) => Promise<boolean>;
}

/** What is known of Consul while it says something. */
export interface Circumstances {
  /** Consul answers everything that it is asked. */
  readonly connected: boolean;
  /** Something that Consul has said has been applied before. */
  readonly synced: boolean;
}

/**
 * How long Consul is doubted after it has come back. Agents and Registrator have registered everything anew within
 * seconds; doubted any longer, an instance that is stopped on purpose would get requests until it stops listening.
 */
const settleTime = 10_000;
const probeEvery = 1_000;
/** How many places are tried at a time. */
const mostProbes = 100;

export class Holder {
  held: ReadonlyMap<string, Held> = new Map();
  private lost: readonly Lost[] = [];
  private readonly gone = new Set<string>();
  private doubtUntil = 0;
  private doubted = "Consul was lost";
  private releasing = false;
  private probing = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: HolderOptions) {}

  start(): void {
    this.timer = setInterval(() => void this.probe(), probeEvery);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  doubt(why: string): void {
    this.doubted = why;
    this.settle();
    this.options.log(
      `Consul: ${why}. What is routed stays, until Consul or the instances themselves say otherwise.`,
    );
  }

  /** Consul answers again. */
  back(): void {
    this.settle();
    this.options.log("Consul answers again.");
  }

  /** By hand: Consul is taken at its word, whatever is held. */
  release(): void {
    this.options.log(`released by hand: ${this.held.size} held instances.`);
    this.releasing = true;
    this.options.changed();
  }

  /** What is to be routed, of what Consul says now and of what was in force before. */
  filter(catalog: Catalog, before: Catalog | undefined, circumstances: Circumstances): Catalog {
    const trusted = this.releasing;
    this.releasing = false;
    const doubt = this.reasonToDoubt(circumstances);
    const result = hold({
      before: trusted ? [] : (before?.instances ?? []),
      held: this.held,
      lost: trusted ? [] : this.lost,
      now: catalog.instances,
      ...(doubt === undefined ? {} : { doubt }),
      share: this.options.holdShare,
      gone: this.gone,
      time: Date.now(),
      holdTime: this.options.holdTime,
    });
    const earlier = this.held;
    this.held = result.held;
    this.lost = result.lost;
    this.report(earlier);
    // A place is only known to be gone for as long as it is asked about, and not where somebody has come back.
    if (result.held.size === 0) this.gone.clear();
    if (this.gone.size > 0)
      for (const instance of catalog.instances) if (instance.healthy) this.gone.delete(place(instance));
    return { ...catalog, instances: result.instances };
  }

  private settle(): void {
    this.doubtUntil = Date.now() + Math.min(settleTime, this.options.holdTime);
  }

  private reasonToDoubt({ connected, synced }: Circumstances): string | undefined {
    // What has gone while nobody watched cannot be told from what Consul has lost.
    if (!synced) return "it was there before the load balancer started";
    return !connected || Date.now() < this.doubtUntil ? this.doubted : undefined;
  }

  private report(earlier: ReadonlyMap<string, Held>): void {
    const fresh = [...this.held.values()].filter(({ instance }) => !earlier.has(instanceKey(instance)));
    const released = [...earlier.values()].filter(({ instance }) => !this.held.has(instanceKey(instance)));
    const [first] = fresh;
    if (first !== undefined) {
      const names = some(fresh.map(({ instance }) => `${instance.service} at ${at(instance)}`));
      this.options.log(
        `held: Consul has dropped ${names} in a suspicious way (${first.why}); they keep their traffic for up to ${this.options.holdTime / 1000} s while they listen. To let them go now: docker kill -s USR2 CONTAINER`,
      );
      void this.probe();
    }
    if (released.length > 0)
      this.options.log(`no longer held: ${some(released.map(({ instance }) => instance.service))}`);
  }

  /** Where nothing listens any more, there is nothing to keep. */
  private async probe(): Promise<void> {
    if (this.held.size === 0 || this.probing) return;
    this.probing = true;
    const { probe = listens, changed } = this.options;
    const waiting = [...this.held.values()].map(({ instance }) => instance);
    const worker = async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (await probe(next.address, next.port)) this.gone.delete(place(next));
        else this.gone.add(place(next));
      }
    };
    await Promise.all(Array.from({ length: mostProbes }, worker)).finally(() => {
      this.probing = false;
    });
    changed();
  }
}

const at = ({ address, port }: Instance): string => `${address}:${port}`;
