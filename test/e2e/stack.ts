import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { parse, stringify } from "yaml";

import { baseImage, consulImage } from "./bases";

/** The outcome of a program. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
}

/** A service entry in a stack file. */
export type ServiceEntry = Readonly<Record<string, unknown>> & { readonly name: string };

/** In the environment of a run that is killed, by which to find the processes that outlive it. */
export const killedMark = "SWITCHYARD_E2E_KILLED";

/** A stack driven like a user does it: by editing its file and running the scripts. */
export class TestStack {
  readonly file: string;
  /** What the Swarm and its services are labelled with. */
  readonly owner: string;

  constructor(
    private readonly name: string,
    private readonly folder = ".",
    project = "switchyard",
  ) {
    this.file = join(folder, `Pulumi.${name}.yaml`);
    this.owner = `${project}/${name}`;
  }

  /** Rewrites the stack file, but keeps the password that `script/up` put into it. */
  configure(services: readonly ServiceEntry[], settings: Readonly<Record<string, unknown>> = {}): void {
    const before = this.read();
    const kept = Object.fromEntries(
      Object.entries(before.config ?? {}).filter(([key]) => key.endsWith(":statsPassword")),
    );
    const own = Object.fromEntries(
      Object.entries({ baseImage, consulImage, ...settings }).map(([key, value]) => [
        `switchyard:${key}`,
        value,
      ]),
    );
    const config = { ...kept, ...own, "switchyard:services": services };
    writeFileSync(this.file, stringify({ ...before, config }));
  }

  up = (...args: string[]) => this.script("up", ...args);
  preview = (...args: string[]) => this.script("preview", ...args);
  down = (...args: string[]) => this.script("down", ...args);
  outputs = (...args: string[]) => this.script("outputs", ...args);
  run = (...args: string[]) => this.script("run", ...args);
  backup = (...args: string[]) => this.script("backup", ...args);
  restore = (...args: string[]) => this.script("restore", ...args);

  /**
   * Starts a script and sends it a signal after a while, unless it has ended: to all its processes, as a terminal does, or to
   * the engine alone. Returns its output once it has ended.
   */
  async killed(
    command: "up" | "down",
    after: number | Promise<unknown>,
    signal: NodeJS.Signals,
    only: "everything" | "the engine",
    ...args: string[]
  ): Promise<string> {
    const env = { ...process.env, STACK: this.name, [killedMark]: "1" };
    const child = spawn(`script/${command}`, args, {
      env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await Promise.race([ended, typeof after === "number" ? sleep(after) : after]);
    const pid = child.pid ?? 0;
    const children = (): string => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    try {
      for (const target of only === "everything" ? [-pid] : children().trim().split(" ").map(Number))
        process.kill(target, signal);
    } catch {
      // It has ended by itself.
    }
    await ended;
    // An engine that handles the signal may take longer than the script.
    while (signal !== "SIGKILL" && isAlive(-pid)) await sleep(50);
    return output;
  }

  /** Sets a secret at a path in the configuration: `secrets.db_password`. */
  setSecret(path: string, value: string): Promise<Outcome> {
    const command = `printf %s "$2" | script/secret "$1"`;
    return run("bash", ["-c", command, "script/secret", path, value], { STACK: this.name });
  }

  /** Removes all that the stack made, if it made anything, and forgets it. */
  async remove(): Promise<void> {
    if (existsSync(this.file)) succeeded(await this.down());
    this.forget();
  }

  /** Deletes the stack's file and state, and the locks of an interrupted run. Call it after `down`. */
  forget(): void {
    rmSync(this.file, { force: true });
    const state = join(this.folder, ".switchyard/state");
    for (const file of existsSync(state) ? readdirSync(state) : [])
      if (file.startsWith(`${this.name}.json`)) rmSync(join(state, file));
    const pulumi = join(this.folder, ".switchyard/pulumi/.pulumi");
    rmSync(join(pulumi, "stacks/switchyard", `${this.name}.json`), { force: true });
    rmSync(join(pulumi, "locks/organization/switchyard", this.name), { recursive: true, force: true });
  }

  /** Does something while the stack's state seems to be lost. */
  async withoutState(work: () => Promise<void>): Promise<void> {
    const files = [".switchyard/state", ".switchyard/pulumi/.pulumi/stacks/switchyard"]
      .map((folder) => join(this.folder, folder, `${this.name}.json`))
      .filter((file) => existsSync(file));
    for (const file of files) renameSync(file, `${file}.lost`);
    try {
      await work();
    } finally {
      for (const file of files) renameSync(`${file}.lost`, file);
    }
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

/** Whether a process or, with a negative ID, a group of processes exists. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The stack that most of the suite shares. */
export const stack = new TestStack("e2e");
/** A stack beside it, which is refused. */
export const secondStack = new TestStack("e2e-second");
/** The stack of three machines. */
export const clusterStack = new TestStack("cluster");
/** The stack of a program that imports the components. */
export const exampleStack = new TestStack("e2e", "examples/one-node", "one-node");

export const testStacks = [stack, secondStack, clusterStack, exampleStack];

/** Returns the outcome if it is a success; throws an error with its output otherwise. */
export function succeeded(outcome: Outcome): Outcome {
  if (outcome.code !== 0) throw new Error(`exit code ${outcome.code}:\n${outcome.output}`);
  return outcome;
}

/** Runs a program and returns its trimmed output; throws with that output if it fails. */
export async function outputOf(program: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${output}`);
  return output.trim();
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
