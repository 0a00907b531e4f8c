import { escapeInvisible } from "../../../lib/text";

export type Log = (line: string) => void;

/** Writes one line to standard output, with control characters escaped. */
export const log: Log = (line) => {
  process.stdout.write(`${escapeInvisible(line)}\n`);
};
