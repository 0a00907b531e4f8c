/** Runs a {@link Leader} for as long as the lock is held: a tick every 2 s, and one at once when a service is wanted. */
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { tickMs } from "../horizontal/rules";
import { Leader } from "./leader";
import type { LeaderOptions } from "./options";

const waitSeconds = 30;
const retryMs = 500;

export class Term {
  leader: Leader | undefined;
  tickSeconds = 0;
  failures = 0;
  /** Why the last tick failed. */
  problem: string | undefined;
  private wake: (() => void) | undefined;
  /** Whether a service has become wanted since the last tick began. */
  private isDue = false;
  private readonly complaint: Complaint;

  constructor(private readonly options: LeaderOptions) {
    this.complaint = new Complaint(options.log);
  }

  async run(signal: AbortSignal): Promise<void> {
    const watching = this.watchWanted(signal);
    while (!signal.aborted) {
      const startMs = this.options.nowMs();
      if (this.options.isLeading()) await this.tick();
      else this.leader = undefined;
      await this.pause(startMs + tickMs - this.options.nowMs(), signal);
    }
    await watching;
  }

  private async tick(): Promise<void> {
    const startMs = this.options.nowMs();
    try {
      await (this.leader ??= new Leader(this.options)).tick();
      this.problem = undefined;
      this.complaint.clear();
    } catch (error) {
      this.failures++;
      this.problem = messageOf(error);
      this.complaint.about(`nothing is decided: ${this.problem}`);
    }
    this.tickSeconds = (this.options.nowMs() - startMs) / 1_000;
  }

  /** Until the time is over, or a service is wanted. */
  private async pause(forMs: number, signal: AbortSignal): Promise<void> {
    if (!this.isDue)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(end, Math.max(0, forMs));
        signal.addEventListener("abort", end);
        this.wake = end;
        function end(): void {
          clearTimeout(timer);
          signal.removeEventListener("abort", end);
          resolve();
        }
      });
    this.isDue = false;
  }

  private async watchWanted(signal: AbortSignal): Promise<void> {
    let index = 0;
    while (!signal.aborted) {
      try {
        if (!this.options.isLeading()) throw new Error("somebody else decides");
        const path = `kv/${scalingKeys.wanted}?recurse`;
        const answer = await this.options.consul.get(path, { index, waitSeconds, signal });
        if (answer.index !== index && answer.body !== null) {
          this.isDue = true;
          this.wake?.();
        }
        // Consul's documentation demands this: an index that goes back belongs to another history.
        index = answer.index < index ? 0 : answer.index;
        // The first answer to an empty prefix has no index to wait for.
        if (index === 0) await sleep(retryMs, undefined, { signal });
      } catch {
        index = 0;
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
