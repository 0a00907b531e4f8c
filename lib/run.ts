/** Runs programs without a shell and always with a time limit. */
import { spawn } from "node:child_process";
import { escapeLines } from "./text";

export interface RunOptions {
  /** Time after which the program is killed and the run fails. */
  readonly timeoutMs: number;
  /** Whether the output goes straight to the terminal instead of into the result. Default: false. */
  readonly show?: boolean;
  /** Whether the output goes to the terminal as well as into the result. Default: false. */
  readonly echo?: boolean;
  /** Standard input of the program. Default: empty. */
  readonly input?: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** An open file, which the program has as descriptor 3. */
  readonly extra?: number;
  /** The name of the run in error messages. Default: the program and its first two arguments. */
  readonly label?: string;
}

export interface RunResult {
  /** Exit code. As in a shell, 127 if the program is not installed. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program until it ends, with any exit code.
 *
 * @throws Error if the program does not end within `timeoutMs`
 */
export function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { timeoutMs, show = false, echo = false, input, env, extra } = options;
  const label = labelOf(program, args, options);
  const output = show ? "inherit" : "pipe";
  return new Promise((resolve, reject) => {
    const stdin = input === undefined ? "ignore" : "pipe";
    const child = spawn(program, args, {
      stdio: [stdin, output, output, ...(extra === undefined ? [] : [extra])],
      env: { ...process.env, ...env },
    });
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    if (echo) child.stdout?.on("data", (text: string) => process.stdout.write(text));
    if (echo) child.stderr?.on("data", (text: string) => process.stderr.write(text));
    // A program may end without reading its input. Its exit code decides whether that is a failure.
    child.stdin?.on("error", () => undefined).end(input);
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      // A grandchild may hold the pipes open, so do not wait for them to close.
      child.stdout?.destroy();
      child.stderr?.destroy();
      reject(new Error(`${label} did not end within ${timeoutMs / 1000} s`));
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

/**
 * Runs a program and returns its standard output.
 *
 * @throws Error with the program, the end of its error output and its exit code, unless that is 0
 */
export async function outputOf(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout;
  const complaint = escapeLines(stderr).trim().slice(-500);
  throw new Error(`${labelOf(program, args, options)}: ${complaint && `${complaint} `}(exit code ${code})`);
}

const labelOf = (program: string, args: readonly string[], { label }: RunOptions): string =>
  label ?? [program, ...args.slice(0, 2)].join(" ");
