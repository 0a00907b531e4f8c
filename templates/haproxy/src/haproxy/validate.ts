/** Checks a configuration file with `haproxy -c`, and finds HAProxy's complaints in what it writes. */
import { execFile } from "node:child_process";

const timeoutMs = 30_000;
/** HAProxy warns of every server that is not up yet, 200 bytes each; execFile takes more than this for a failure. */
const maxWarningBytes = 256 * 1024 * 1024;

/** Returns HAProxy's complaint about a configuration file; undefined if it would load the file. */
export function validate(file: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const limits = { timeout: timeoutMs, maxBuffer: maxWarningBytes };
    execFile("haproxy", ["-c", "-f", file], limits, (error, stdout, stderr) => {
      if (error === null) resolve(undefined);
      else resolve(firstAlerts(`${stdout}\n${stderr}`) || error.message);
    });
  });
}

/** The first three alerts in HAProxy's output; empty if there are none. */
export function firstAlerts(output: string): string {
  const alerts = output.split("\n").filter((line) => line.includes("[ALERT]"));
  return alerts
    .slice(0, 3)
    .map((line) => line.replace(/^.*\[ALERT\]\s+\(\d+\) : /, ""))
    .join("; ");
}
