import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";

import { parse, stringify } from "yaml";

/** The outcome of a program. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
}

/** A service entry in a stack file. */
export type ServiceEntry = Readonly<Record<string, unknown>> & { readonly name: string };

/** A stack driven like a user does it: by editing its file and running the scripts. */
export class TestStack {
  private readonly file: string;

  constructor(private readonly name: string) {
    this.file = `Pulumi.${name}.yaml`;
  }

  /** Rewrites the stack file, but keeps the values that `script/up` put into it. */
  configure(services: readonly ServiceEntry[], settings: Readonly<Record<string, unknown>> = {}): void {
    const before = this.read();
    const kept = Object.fromEntries(
      Object.entries(before.config ?? {}).filter(([key]) =>
        /:(statsPassword|baseImage|consulImage)$/.test(key),
      ),
    );
    const own = Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [`switchyard:${key}`, value]),
    );
    const config = { ...kept, ...own, "switchyard:services": services };
    writeFileSync(this.file, stringify({ ...before, config }));
  }

  up = (...args: string[]) => this.script("up", ...args);
  preview = (...args: string[]) => this.script("preview", ...args);
  down = (...args: string[]) => this.script("down", ...args);
  outputs = (...args: string[]) => this.script("outputs", ...args);

  /** Deletes the stack's file and state. Call it after `down`. */
  forget(): void {
    rmSync(this.file, { force: true });
    rmSync(`.switchyard/state/${this.name}.json`, { force: true });
    rmSync(`.switchyard/pulumi/.pulumi/stacks/switchyard/${this.name}.json`, { force: true });
  }

  private read(): { config?: Record<string, unknown> } {
    try {
      return parse(readFileSync(this.file, "utf8")) as { config?: Record<string, unknown> };
    } catch {
      return {};
    }
  }

  private script(command: string, ...args: string[]): Promise<Outcome> {
    return run(`script/${command}`, args, { STACK: this.name });
  }
}

/** The stack that most of the suite shares. */
export const stack = new TestStack("e2e");

/** Returns the outcome if it is a success; throws an error with its output otherwise. */
export function succeeded(outcome: Outcome): Outcome {
  if (outcome.code !== 0) throw new Error(`exit code ${outcome.code}:\n${outcome.output}`);
  return outcome;
}

/** Runs a program to its end. The output contains both streams, interleaved. */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code: code ?? 1, output, seconds: (performance.now() - started) / 1000 });
    });
  });
}
