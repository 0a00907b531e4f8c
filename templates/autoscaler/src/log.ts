import { escapeInvisible } from "../../../routing/grammar";

export type Log = (line: string) => void;

/** One line on standard output, whatever it is about. */
export const log: Log = (line) => {
  process.stdout.write(`${escapeInvisible(line)}\n`);
};
