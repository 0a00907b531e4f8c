/** Logs a complaint once until it is another one, or until {@link clear}. */
export class Complaint {
  private last = "";

  constructor(private readonly log: (line: string) => void) {}

  about(line: string): void {
    if (line !== this.last) this.log(line);
    this.last = line;
  }

  clear(): void {
    this.last = "";
  }
}
