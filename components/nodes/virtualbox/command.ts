/** Runs VBoxManage and qemu-img. */
import { run } from "../../../lib/run";

const packages: Readonly<Record<string, string>> = {
  VBoxManage: "VirtualBox 7.0 or later",
  "qemu-img": "qemu-utils",
};

/** Enough for a command that changes settings, even while VirtualBox's service is still starting. */
export const settingsTimeoutMs = 120_000;
/** Enough for a command that copies or resizes a disk. */
export const diskTimeoutMs = 1_800_000;

/**
 * Runs a program and returns its output.
 *
 * @param timeoutMs milliseconds after which the program is killed; default {@link settingsTimeoutMs}
 * @throws Error with the program's error message
 */
export async function command(
  program: string,
  args: readonly string[],
  timeoutMs = settingsTimeoutMs,
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, { timeoutMs });
  if (code === 127) throw new Error(`${program} is not installed: install ${packages[program] ?? program}`);
  if (code !== 0) throw new Error(`${program} ${args.slice(0, 2).join(" ")}: ${causeIn(stderr)}`);
  return stdout;
}

/** VBoxManage spreads an error over several lines, after warnings and before its source location. */
function causeIn(stderr: string): string {
  const causes = stderr
    .split("\n")
    .flatMap((line) => /^.*error: (?!Details: |Context: )(.+)$/.exec(line)?.[1] ?? []);
  return causes.length > 0 ? causes.join("; ") : stderr.trim();
}
