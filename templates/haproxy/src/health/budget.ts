/**
 * So many permits a second for all who ask, first come, first served. A permit that nobody used is kept, up to `burst`.
 * Who is no longer interested when its turn comes costs no permit.
 */
export class Budget {
  private permits: number;
  private filledAt = performance.now();
  private readonly waiting: {
    readonly wanted: () => boolean;
    readonly done: (permitted: boolean) => void;
  }[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.permits = burst;
  }

  /** Resolves to true with a permit, or to false if by then `wanted` is false. */
  take(wanted: () => boolean): Promise<boolean> {
    return new Promise((done) => {
      this.waiting.push({ wanted, done });
      if (this.timer === undefined) this.serve();
    });
  }

  private serve(): void {
    this.timer = undefined;
    const now = performance.now();
    this.permits = Math.min(this.burst, this.permits + ((now - this.filledAt) / 1_000) * this.perSecond);
    this.filledAt = now;
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      const wanted = next.wanted();
      if (wanted && this.permits < 1) break;
      if (wanted) this.permits--;
      this.waiting.shift();
      next.done(wanted);
    }
    if (this.waiting.length === 0) return;
    this.timer = setTimeout(() => {
      this.serve();
    }, 1_000 / this.perSecond).unref();
  }
}
