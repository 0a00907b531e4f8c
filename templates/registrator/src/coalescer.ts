/**
 * Runs one piece of work per key at a time. A key that is touched while its work runs is worked on once more afterwards, so
 * that the last run always starts after the last touch: work that reads the current state then can't leave an old one behind.
 */
export class Coalescer {
  private readonly runs = new Map<string, Run>();
  private readonly waiting: (() => void)[] = [];
  private active = 0;

  constructor(
    private readonly work: (key: string, reason: string, isOutdated: () => boolean) => Promise<void>,
    private readonly limit: number,
  ) {}

  /** Resolves when the key is at rest. */
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

  /** Has the key's work repeated if some is under way; without, there is nothing to repeat. */
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
