/** Runs VBoxManage and qemu-img. */
import { Mutex } from "../../../lib/mutex";
import { run, type RunResult } from "../../../lib/run";

/** Enough for a command that changes settings. */
const settingsTimeoutMs = 120_000;
/** Enough for a command that copies or resizes a disk. */
const diskTimeoutMs = 1_800_000;

/** How long VirtualBox's service may take to start, or to end a session with a machine. */
const readyTimeoutMs = 30_000;
/** Time between two attempts. */
const pauseMs = 500;

/**
 * Errors of a command that VirtualBox has not begun: its service, which the first command starts and which ends when it is idle, is
 * starting, or a machine's state changes. From VBoxManage.cpp, MachineImpl.cpp and tried with 7.2.22.
 */
const notReady =
  /Failed to create the VirtualBox object!|is already locked (?:by|for) a session|while it is locked/;

/** Commands that find VirtualBox's service starting may fail, so they run one at a time. */
const turns = new Mutex();

/**
 * Runs VBoxManage and returns its output.
 *
 * @throws Error with the command and its causes
 */
export async function vboxManage(...args: readonly string[]): Promise<string> {
  const timeoutMs = args[0] === "modifymedium" ? diskTimeoutMs : settingsTimeoutMs;
  let deadlineMs: number | undefined;
  for (;;) {
    const result = await turns.runExclusive(() => run("VBoxManage", args, { timeoutMs }));
    if (result.code === 0) return result.stdout;
    // Its own turn may have come late.
    deadlineMs ??= Date.now() + readyTimeoutMs;
    if (!notReady.test(result.stderr) || Date.now() > deadlineMs) {
      throw failure("VBoxManage", "VirtualBox 7.0 or later", args, result);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/**
 * Converts a disk to VirtualBox's format. The new disk gets a UUID of its own.
 *
 * @throws Error with the command and its causes
 */
export async function convertDisk(source: string, disk: string): Promise<void> {
  const args = ["convert", "-O", "vdi", source, disk];
  const result = await run("qemu-img", args, { timeoutMs: diskTimeoutMs });
  if (result.code !== 0) throw failure("qemu-img", "qemu-utils", args, result);
}

function failure(program: string, source: string, args: readonly string[], result: RunResult): Error {
  return result.code === 127
    ? new Error(`${program} is not installed: install ${source}`)
    : new Error(`${[program, ...args].join(" ")}: ${causeIn(result)}`);
}

/**
 * VBoxManage spreads an error over several lines, after its usage or its progress and around its source location. Any of them may be
 * the cause. Its start script warns that no machine can start, and VBoxManage then says only that a machine ended.
 */
function causeIn({ code, stdout, stderr }: RunResult): string {
  const causes = [...stderr.matchAll(/^VBoxManage: error: (?!Details: |Context: )(.+)$/gm)].map(
    ([, line]) => line,
  );
  if (causes.length === 0) return stderr.trim() || `exit code ${code}`;
  const [warning] = /^WARNING: (?:.|\n(?!\s*\n))+/m.exec(`${stdout}\n${stderr}`) ?? [];
  if (warning !== undefined && /terminated unexpectedly/.test(stderr))
    causes.push(warning.replace(/\s+/g, " "));
  return causes.join("; ");
}
