/** Elects the autoscaler that decides: the one whose session holds a lock in Consul. */
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import type { Log } from "../log";
import type { Consul } from "./client";
import { entriesOf, type Entry } from "./decode";

/**
 * The shortest that Consul takes. It gives up a session after its TTL at the earliest and twice that at the latest; requests for a
 * service that sleeps wait for 30 s, so another autoscaler has to decide before that.
 */
const session = { Name: "autoscaler", TTL: "10s", Behavior: "delete", LockDelay: "1s" };

/** We stop before Consul gives up the session. */
const heldMs = 8_000;
const renewMs = 3_000;
/** While Consul's lock delay lasts, or Consul does not answer. */
const retryMs = 500;

export class Leadership {
  /** The node of the autoscaler that decides, as far as is known. */
  leader: string | undefined;
  /** Why Consul cannot be asked. */
  problem: string | undefined;
  private session: string | undefined;
  private heldUntilMs = -Infinity;
  /** Of the lock that another one holds, to wait for its next change; 0 not to wait. */
  private index = 0;
  private readonly complaint: Complaint;

  /** @param nowMs a clock that never goes back */
  constructor(
    private readonly consul: Consul,
    private readonly node: string,
    private readonly log: Log,
    private readonly nowMs: () => number,
  ) {
    this.complaint = new Complaint(log);
  }

  /** Whether this autoscaler may act, now. */
  get isLeading(): boolean {
    return this.nowMs() < this.heldUntilMs;
  }

  /** Contends for the lock until the signal, then hands it over. */
  async run(signal: AbortSignal): Promise<void> {
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      try {
        const waitMs = await this.turn(signal);
        this.problem = undefined;
        this.complaint.clear();
        await pause(waitMs, signal);
      } catch (error) {
        if (isOver()) break;
        this.problem = messageOf(error);
        this.complaint.about(`Consul does not answer (${this.problem}); nothing is changed without it`);
        await pause(retryMs, signal);
      }
    }
    await this.handOver().catch((error: unknown) => {
      this.log(`the lock is left to its time limit: ${messageOf(error)}`);
    });
  }

  /** @returns how long to wait before the next turn, in milliseconds */
  private async turn(signal: AbortSignal): Promise<number> {
    const askedMs = this.nowMs();
    if (this.session !== undefined && !(await this.consul.renewSession(this.session)))
      this.session = undefined;
    this.session ??= await this.consul.createSession(session);
    const { index, body } = await this.consul.get(`kv/${scalingKeys.lock}`, {
      index: this.index,
      waitSeconds: renewMs / 1_000,
      signal,
    });
    this.index = 0;
    const lock = entriesOf(body, scalingKeys.lock).get("");
    if (lock?.session === this.session) {
      this.hold(askedMs);
      return renewMs;
    }
    this.heldUntilMs = -Infinity;
    if (lock?.session !== undefined) return this.follow(lock, lock.session, index);
    const acquired = await this.consul.putKey(scalingKeys.lock, this.node, `acquire=${this.session}`);
    if (acquired) this.hold(askedMs);
    return acquired ? renewMs : retryMs;
  }

  private hold(sinceMs: number): void {
    if (!this.isLeading) this.log("this autoscaler decides now");
    this.leader = this.node;
    this.heldUntilMs = sinceMs + heldMs;
  }

  private async follow({ value }: Entry, holder: string, index: number): Promise<number> {
    if (value === this.node) {
      this.log("an earlier run on this node still has the lock; taking it over");
      await this.consul.destroySession(holder);
    } else if (this.leader !== value) this.log(`the autoscaler on ${value} decides`);
    this.leader = value;
    this.index = index;
    return 0;
  }

  /** Releases the lock: Consul's lock delay is only for sessions that are destroyed while they hold one. */
  private async handOver(): Promise<void> {
    const { session: id } = this;
    if (id === undefined) return;
    const led = this.isLeading;
    this.heldUntilMs = -Infinity;
    if (led) {
      await this.consul.putKey(scalingKeys.lock, this.node, `release=${id}`);
      const { body } = await this.consul.get(`kv/${scalingKeys.lock}`);
      const lock = entriesOf(body, scalingKeys.lock).get("");
      // Load balancers write figures while the key exists.
      if (lock?.session === undefined && lock !== undefined)
        await this.consul.deleteKey(scalingKeys.lock, lock.index);
    }
    await this.consul.destroySession(id);
  }
}

const pause = async (forMs: number, signal: AbortSignal): Promise<void> => {
  await sleep(forMs, undefined, { signal }).catch(() => undefined);
};
