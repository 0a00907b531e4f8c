/** Decides when HAProxy may be reloaded. */

/** Each reload leaves a worker behind until its last connection ends, so many changes have to share one. */
const shortestMs = 2_000;
const longestMs = 30_000;

/** A reload that failed is retried less and less often, until it is wanted for other reasons. */
export class ReloadLimiter {
  private last = -Infinity;
  private delayMs = shortestMs;
  private failed: { readonly reasons: string; readonly why: string } | undefined;
  private timer: NodeJS.Timeout | undefined;

  /** `onReloadable` is called when a reload that had to wait is allowed; `now` is in milliseconds. */
  constructor(
    private readonly onReloadable: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Why the reload that is still wanted has failed, if it has. */
  get failure(): string | undefined {
    return this.failed?.why;
  }

  /** Whether HAProxy may be reloaded for these reasons now. If not, `onReloadable` follows, unless there are no reasons. */
  allows(reasons: readonly string[]): boolean {
    if (this.failed?.reasons !== reasons.join()) this.reset();
    return reasons.length > 0 && this.wait() <= 0;
  }

  begins(): void {
    this.last = this.now();
  }

  fails(reasons: readonly string[], why: string): void {
    this.begins();
    this.failed = { reasons: reasons.join(), why };
    this.delayMs = Math.min(this.delayMs * 2, longestMs);
    this.wait();
  }

  /** The reload has succeeded, or nobody wants it any more. */
  reset(): void {
    this.failed = undefined;
    this.delayMs = shortestMs;
    clearTimeout(this.timer);
  }

  private wait(): number {
    const left = this.last + this.delayMs - this.now();
    clearTimeout(this.timer);
    if (left > 0) this.timer = setTimeout(this.onReloadable, left);
    return left;
  }
}
