/** The log of the renderer, on standard error. */
import { writeSync } from "node:fs";
import { escapeInvisible } from "../../../lib/text";

/** A message as one line that does nothing to the terminal that shows it. */
export const logLine = (message: string): string =>
  `switchyard: ${escapeInvisible(message.replaceAll(/[\r\n]+/g, " | "))}\n`;

const stderr = 2;

/** Logs a message. */
export function log(message: string): void {
  write(logLine(message));
}

/** Writes text to standard error at once: what a thread writes to `process.stderr` is lost when the thread ends. */
export function write(text: string): void {
  try {
    writeSync(stderr, text);
  } catch {
    // Nobody reads the log any more, or not fast enough. Traffic must not depend on it.
  }
}
