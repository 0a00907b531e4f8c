import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";

import { parse, stringify } from "yaml";

/** What a script said and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
}

/** A service as it stands in a stack file. */
export type ServiceEntry = Readonly<Record<string, unknown>> & { readonly name: string };

/** A stack of the end-to-end suite: driven as a user does, by editing its file and running the scripts. */
export class TestStack {
  private readonly file: string;

  constructor(private readonly name: string) {
    this.file = `Pulumi.${name}.yaml`;
  }

  /** Writes the stack file anew; the secrets that `script/up` put into it stay. */
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

  /** Forgets the stack, whatever is left of it; to be called after `down`. */
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

/** The one that most of the suite shares. */
export const stack = new TestStack("e2e");

/** The outcome of what is to succeed; where it did not, an error with all that it said. */
export function succeeded(outcome: Outcome): Outcome {
  if (outcome.code !== 0) throw new Error(`it ended with ${outcome.code}:\n${outcome.output}`);
  return outcome;
}

/** Runs a program to its end; its output, both streams in order, is kept. */
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
