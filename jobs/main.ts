/** `script/run`. Reads the engine's state from descriptor 3. */
import { readFileSync } from "node:fs";
import { reportOf, UserError } from "../lib/errors";
import { findJob, runJob } from "./run";

const usage =
  "Usage: script/run NAME\n\nRuns a job of the stack now, shows its log, and ends with its exit code.";

async function main([name, ...more]: readonly string[]): Promise<number> {
  if (name === "--help" || name === "-h") {
    console.log(usage);
    return 0;
  }
  if (name === undefined || more.length > 0) throw new UserError(usage);
  return runJob(findJob(readFileSync(3, "utf8"), name), process.stdout, process.stderr);
}

void main(process.argv.slice(2))
  .catch((error: unknown) => {
    console.error(reportOf(error));
    return 1;
  })
  .then((code) => process.exit(code));
