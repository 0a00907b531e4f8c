/** Cleans up at the end of a run, and delays interruptions while data is exchanged. */
import { once } from "node:events";
import { createInterface } from "node:readline/promises";

import { messageOf } from "../lib/errors";

const never = <T>(): Promise<T> => new Promise(() => undefined);

export class Interruption {
  /** What to undo at the end of the run, last first. */
  private readonly cleanups: (() => Promise<void>)[] = [];
  /** Whether it has been interrupted. */
  private interrupted = false;
  /** Whether an interruption has to wait. */
  private waits = false;
  /** Whether the run is ending because of an interruption, and must start nothing new. */
  private leaving = false;

  constructor(
    private readonly say: (line: string) => void,
    private readonly exit: (code: number) => void,
  ) {}

  get isInterrupted(): boolean {
    return this.interrupted;
  }

  onEnd(undo: () => Promise<void>): void {
    this.cleanups.push(undo);
  }

  /** Drops all cleanups. */
  keepAll(): void {
    this.cleanups.length = 0;
  }

  async undoLast(): Promise<void> {
    if (this.leaving) return never();
    await this.cleanups.pop()?.();
  }

  /** Runs work that an interruption must wait for. Never settles if the run is already ending. */
  async uninterrupted(work: () => Promise<void>): Promise<void> {
    if (this.leaving) return never();
    this.waits = true;
    try {
      await work();
    } finally {
      this.waits = false;
    }
  }

  interrupt(signal: NodeJS.Signals): void {
    // A terminal that is closed may say so twice.
    if (this.interrupted && signal !== "SIGHUP") this.exit(1);
    if (this.interrupted) return;
    this.interrupted = true;
    if (this.waits) {
      this.say("finishing first: the data is being exchanged. Interrupt again to stop immediately");
      return;
    }
    this.leaving = true;
    this.say("interrupted: cleaning up. Interrupt again to stop immediately");
    void this.undoAll().then(() => {
      this.exit(130);
    });
  }

  /** Ends the run, unless an interruption does. */
  async end(code: number): Promise<void> {
    if (this.leaving) return;
    await this.undoAll();
    this.exit(code);
  }

  private async undoAll(): Promise<void> {
    for (let undo = this.cleanups.pop(); undo !== undefined; undo = this.cleanups.pop())
      await undo().catch((error: unknown) => {
        this.say(messageOf(error));
      });
  }
}

/** The answer to a question; empty if the terminal is closed, or Ctrl-C pressed, instead. */
export async function ask(
  question: string,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
): Promise<string> {
  const terminal = createInterface({ input, output });
  const closed = once(terminal, "close").then(() => "");
  try {
    return await Promise.race([terminal.question(question).catch(() => ""), closed]);
  } finally {
    terminal.close();
  }
}
