/** Runs a program to its end. */
import { spawn } from "node:child_process";

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `show`: what it prints goes to the user as it comes, and is not kept. A program that is not there ends with 127. */
export function run(program: string, args: readonly string[], { show = false } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", ...both(show ? "inherit" : "pipe")] });
    let [stdout, stderr] = ["", ""];
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") resolve({ code: 127, stdout, stderr: `${program} is not installed` });
      else reject(error);
    });
    child.on("close", (code) => {
      resolve({ code: code ?? 1, stdout, stderr });
    });
  });
}

const both = (how: "inherit" | "pipe"): [typeof how, typeof how] => [how, how];
