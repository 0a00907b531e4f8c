/** When HAProxy may be reloaded. */

/** Each reload leaves a worker behind until its last connection has ended, so many wishes have to share one. */
const shortest = 2_000;
const longest = 30_000;

/** One that has failed is tried less and less often, until it is wanted for other reasons. */
export class ReloadPace {
  private last = -Infinity;
  private delay = shortest;
  private failed: { readonly reasons: string; readonly why: string } | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly onReloadable: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Why the reload that is still wanted has failed, if it has. */
  get failure(): string | undefined {
    return this.failed?.why;
  }

  /** Whether it may be had now; if not, it is said when it may. */
  allows(reasons: readonly string[]): boolean {
    if (this.failed?.reasons !== reasons.join()) this.forget();
    return this.wait() <= 0;
  }

  begins(): void {
    this.last = this.now();
  }

  fails(reasons: readonly string[], why: string): void {
    this.begins();
    this.failed = { reasons: reasons.join(), why };
    this.delay = Math.min(this.delay * 2, longest);
    this.wait();
  }

  /** It has been had, or is not wanted any more. */
  forget(): void {
    this.failed = undefined;
    this.delay = shortest;
    clearTimeout(this.timer);
  }

  private wait(): number {
    const left = this.last + this.delay - this.now();
    clearTimeout(this.timer);
    if (left > 0) this.timer = setTimeout(this.onReloadable, left);
    return left;
  }
}
