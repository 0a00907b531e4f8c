import { escapeInvisible } from "../../../routing/grammar";

export type Log = (line: string) => void;

/** One line on standard output, whatever it is about. */
export const log: Log = (line) => {
  process.stdout.write(`${escapeInvisible(line)}\n`);
};

/** Logs a complaint once until it is another one, or until {@link clear}. */
export class Complaint {
  private last = "";

  constructor(private readonly log: Log) {}

  about(line: string): void {
    if (line !== this.last) this.log(line);
    this.last = line;
  }

  clear(): void {
    this.last = "";
  }
}
