/** Keeps the state on disk: a while after a change, one write at a time. */
import { messageOf } from "../../../../lib/errors";
import { Mutex } from "../../../../lib/mutex";

const delayMs = 500;
/** Writing takes at most this share of the time, however much there is to write. */
const longestShare = 1 / 50;

export class Persistence {
  private readonly mutex = new Mutex();
  private timer: NodeJS.Timeout | undefined;
  private costMs = 0;

  constructor(
    private readonly write: () => Promise<void>,
    private readonly log: (message: string) => void,
  ) {}

  /** Writes within a moment, together with what else changes meanwhile. */
  soon(): void {
    this.timer ??= setTimeout(() => void this.now(), Math.max(delayMs, this.costMs / longestShare));
  }

  /** Writes what is still to be written, and waits for a write that is under way. */
  async flush(): Promise<void> {
    if (this.timer === undefined) await this.mutex.runExclusive(() => Promise.resolve());
    else await this.now();
  }

  private now(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    return this.mutex.runExclusive(async () => {
      const start = performance.now();
      try {
        await this.write();
      } catch (error) {
        this.log(`The state cannot be kept on disk: ${messageOf(error)}`);
      }
      this.costMs = performance.now() - start;
    });
  }
}
