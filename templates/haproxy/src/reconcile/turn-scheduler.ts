/** Decides when the next turn starts: soon after a change, never beside another turn, and again after a failure. */
import type { Missing } from "../consul/watcher";

/** Changes that come in a burst, as those of one container do, share a turn. */
const debounceMs = 5;
const longestWaitMs = 50;
/**
 * A single change waits for what Consul may still have to say about it: answers about checks are small and come at once,
 * those about services take longer.
 */
const waitsMs: Readonly<Record<Missing, number>> = { nothing: 0, checks: 1, services: debounceMs };
const firstRetryMs = 500;
const longestRetryMs = 30_000;

export interface TurnEvents {
  /** Takes a turn for a change of the time `since` (as `performance.now()`); returns whether another one has to follow. */
  readonly turn: (since: number) => Promise<boolean>;
  readonly failed: (error: unknown) => void;
  /** A change waits for the end of the turn that is running. */
  readonly waits: () => void;
  /** What Consul may still have to say about the change. */
  readonly missing: () => Missing;
}

export class TurnScheduler {
  private requestedAt: number | undefined;
  private timer: NodeJS.Timeout | undefined;
  private atOnce: NodeJS.Immediate | undefined;
  private lastEnd = -Infinity;
  private running: Promise<void> | undefined;
  private retryMs = firstRetryMs;
  private retrying: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(private readonly events: TurnEvents) {}

  /** Whether a change waits for a turn. */
  get requested(): boolean {
    return this.requestedAt !== undefined;
  }

  /** Whether no turn is running and no change waits for one. */
  get idle(): boolean {
    return this.running === undefined && !this.requested;
  }

  /** Asks for a turn. */
  request(): void {
    if (this.stopped) return;
    const now = performance.now();
    this.requestedAt ??= now;
    const wait = now - this.lastEnd > longestWaitMs ? waitsMs[this.events.missing()] : debounceMs;
    this.runAfter(Math.min(wait, Math.max(0, this.requestedAt + longestWaitMs - now)));
  }

  /** Settles once no turn is running. */
  async done(): Promise<void> {
    await this.running;
  }

  /** Settles once the running turn has ended; no other one starts. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.cancel();
    clearTimeout(this.retrying);
    await this.running;
  }

  private runAfter(waitMs: number): void {
    this.cancel();
    const run = () => {
      this.run();
    };
    if (waitMs === 0) this.atOnce = setImmediate(run);
    else this.timer = setTimeout(run, waitMs);
  }

  private cancel(): void {
    clearTimeout(this.timer);
    clearImmediate(this.atOnce);
  }

  private run(): void {
    if (this.stopped) return;
    if (this.running !== undefined) {
      this.events.waits();
      return;
    }
    const since = this.requestedAt ?? performance.now();
    this.requestedAt = undefined;
    this.running = this.take(since);
  }

  private async take(since: number): Promise<void> {
    let again = false;
    try {
      again = await this.events.turn(since);
      this.retryMs = firstRetryMs;
    } catch (error) {
      this.events.failed(error);
      this.retryLater();
    }
    this.running = undefined;
    this.lastEnd = performance.now();
    if (this.stopped) return;
    if (again) {
      this.requestedAt = since;
      this.runAfter(0);
    } else if (this.requested) this.request();
  }

  private retryLater(): void {
    clearTimeout(this.retrying);
    this.retrying = setTimeout(() => {
      this.request();
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, longestRetryMs);
  }
}
