/**
 * Runs the work of a key one run at a time. Touching a key while its work runs queues one more run, so the last run
 * always starts after the last touch, and work that reads the current state never leaves a stale result behind.
 */
export class Coalescer {
  private readonly runs = new Map<string, Run>();
  private readonly waiting: (() => void)[] = [];
  private active = 0;

  /** `limit`: how many keys may run at the same time. */
  constructor(
    private readonly work: (key: string, reason: string, isOutdated: () => boolean) => Promise<void>,
    private readonly limit: number,
  ) {}

  /** Resolves when the key has no more work. */
  touch(key: string, reason: string): Promise<void> {
    const running = this.runs.get(key);
    if (running) {
      running.next = reason;
      return running.done;
    }
    const run: Run = { next: reason, done: Promise.resolve() };
    this.runs.set(key, run);
    run.done = this.drain(key, run);
    return run.done;
  }

  /** Repeats the key's work if it is running; does nothing otherwise. */
  outdate(key: string, reason: string): void {
    if (this.runs.has(key)) void this.touch(key, reason);
  }

  private async drain(key: string, run: Run): Promise<void> {
    await this.enter();
    try {
      while (run.next !== undefined) {
        const reason = run.next;
        run.next = undefined;
        await this.work(key, reason, () => run.next !== undefined);
      }
    } finally {
      this.runs.delete(key);
      this.leave();
    }
  }

  private enter(): Promise<void> | undefined {
    if (this.active < this.limit) {
      this.active++;
      return undefined;
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private leave(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.active--;
  }
}

interface Run {
  next: string | undefined;
  done: Promise<void>;
}
