/** A failure that is logged when it begins, and no more while it lasts. */
export class Failure {
  private lasts = false;

  /** @param again what to log when it has ended. Default: nothing */
  constructor(
    private readonly log: (message: string) => void,
    private readonly again?: string,
  ) {}

  begins(message: string): void {
    if (!this.lasts) this.log(message);
    this.lasts = true;
  }

  ends(): void {
    if (this.lasts && this.again !== undefined) this.log(this.again);
    this.lasts = false;
  }
}
