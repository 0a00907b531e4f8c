/** Whether a machine has set itself up at its first boot, by cloud-init. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { MachineError } from "../lib/errors";
import { isMapping, parseJson } from "../lib/values";
import { runBySsh, type Engine } from "./client";

export interface FirstBoot extends Engine {
  /** A file that exists on the machine once it is set up. */
  readonly readyFile: string;
  /** What to write on this computer if the machine could not set itself up. */
  readonly failureNote?: FailureNote | undefined;
}

/** A file that tells the next update to replace a machine. */
export interface FailureNote {
  readonly file: string;
  readonly content: string;
  /** The command that replaces it where there is no such file, as on another computer. */
  readonly command?: string;
}

/** Where cloud-init writes what the commands that it runs have said. */
const outputLog = "/var/log/cloud-init-output.log";

/**
 * Returns if the machine is set up.
 *
 * @throws MachineError if its cloud-init has failed, with cloud-init's reasons: the machine stays as it is
 * @throws Error if the machine cannot be asked, or is not ready yet
 */
export async function requireFirstBoot(boot: FirstBoot, timeoutMs: number): Promise<void> {
  const { readyFile, failureNote } = boot;
  // Only the output matters: cloud-init and grep also exit with an error. On a small machine, cloud-init takes seconds to answer, in
  // which the machine may have become ready, with errors that do not matter.
  const look = `ls ${readyFile}`;
  const why = `cloud-init status --format json; grep -h '^[EW]: ' ${outputLog}`;
  const output = await runBySsh(boot, [`${look} || { ${why}; ${look}; true; } 2>/dev/null`], timeoutMs);
  if (output.trim().split("\n").at(-1) === readyFile) return;
  const reasons = failureIn(output);
  if (reasons === undefined) throw new Error(`${boot.host}: ${readyFile} does not exist yet`);
  if (failureNote !== undefined) {
    mkdirSync(dirname(failureNote.file), { recursive: true, mode: 0o700 });
    writeFileSync(failureNote.file, failureNote.content, { mode: 0o600 });
  }
  const elsewhere = failureNote?.command === undefined ? "" : ` (from elsewhere: ${failureNote.command})`;
  throw new MachineError(
    `The machine at ${boot.host} could not set itself up: ${reasons}. Full log: ` +
      `${["ssh", ...(boot.sshOpts ?? []), boot.host, "cat", outputLog].join(" ")}. ` +
      `${failureNote === undefined ? "Replace the machine" : `The next update replaces the machine${elsewhere}`}; if it ` +
      `cannot reach a package archive, first set machine.aptMirror or machine.proxy`,
  );
}

/** The reasons of a cloud-init that has ended with errors; undefined if it has not. Its output is not to be trusted. */
export function failureIn(output: string): string | undefined {
  const end = output.lastIndexOf("\n}");
  const status = parseJson(output.slice(output.indexOf("{"), end + 2));
  if (!isMapping(status) || status["status"] !== "error" || status["extended_status"] === "error - running")
    return undefined;
  const errors = Array.isArray(status["errors"]) ? status["errors"].map(String) : [];
  const complaints = output
    .slice(end + 2)
    .split("\n")
    .filter((line) => /^[EW]: /.test(line));
  const found = [...new Set([...errors, ...complaints])].map(readable).slice(0, 6);
  return found.length === 0 ? "cloud-init does not say why" : found.join("; ");
}

/** On one line, and short. */
const readable = (text: string): string => {
  const line = text.replace(/[\p{C}\s]+/gu, " ").trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
};
