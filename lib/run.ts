/**
 * Runs programs by their arguments: without a shell, without input, never without a time limit. Plain functions only,
 * because Pulumi serialises what its dynamic providers call.
 */
import { spawn } from "node:child_process";

export interface RunOptions {
  /** Milliseconds after which the program is killed and the run fails. */
  readonly timeoutMs: number;
  /** Whether the output goes to the user as it comes, instead of into the result. Default: false. */
  readonly show?: boolean;
}

export interface RunResult {
  /** Exit code; 127 if the program is not installed, as in a shell. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program and waits until it ends, whatever its exit code.
 *
 * @throws Error when the program does not end within `timeoutMs`; the message names its first two arguments at most
 */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { timeoutMs, show = false } = options;
  const output = show ? "inherit" : "pipe";
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", output, output] });
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      // A grandchild may hold the pipes open, so do not wait for them to close.
      child.stdout?.destroy();
      child.stderr?.destroy();
      const command = [program, ...args.slice(0, 2)].join(" ");
      reject(new Error(`${command} did not end within ${timeoutMs / 1000} s`));
    }, timeoutMs);
    child.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (error.code === "ENOENT") resolve({ code: 127, stdout, stderr: `${program} is not installed` });
      else reject(error);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, stdout, stderr });
    });
  });
}
