import { HttpClient } from "../lib/http";
import { docker } from "../test/e2e/docker";
import { buildImage } from "../test/e2e/images";
import { scratch } from "../test/e2e/scratch";

// All contenders run in containers of the load balancer's image on the host's network: with the same HAProxy, the same
// kind of log and the same limits.

const prefix = "bn-t-";
const names = new Set<string>();
const folder = scratch();
const engine = new HttpClient({ socketPath: "/var/run/docker.sock" });
let built: Promise<string> | undefined;

/** A temporary folder for the files of this run. */
export const files = folder.path;

/** Builds the load balancer's image from the working tree, under the benchmarks' own tag. */
export function image(): Promise<string> {
  built ??= buildImage("haproxy", "switchyard/haproxy:bench");
  return built;
}

/** The version of a program in the image. */
export async function versionInImage(program: string): Promise<string> {
  const printed = await docker("run", "--rm", "--entrypoint", program, await image(), "-v");
  return /\d+\.\d+(?:\.\d+)?/.exec(printed)?.[0] ?? "unknown";
}

export interface RunOptions {
  readonly docker?: readonly string[];
  /** A program of the image to run instead of the load balancer. */
  readonly program?: string;
  /** The only core that the container may use. */
  readonly core?: number;
}

/** The ID of a container's first process on this machine. */
export const pidOf = async (container: string): Promise<number> =>
  Number(await docker("inspect", "-f", "{{.State.Pid}}", container));

interface Stats {
  readonly cpu_stats: { readonly cpu_usage: { readonly total_usage: number } };
  readonly memory_stats: { readonly usage: number };
}

/** A container of this run. Docker keeps its log as by default, but limits its size. */
export class Container {
  private constructor(
    readonly name: string,
    readonly id: string,
  ) {}

  static async run(name: string, args: readonly string[], options: RunOptions = {}): Promise<Container> {
    const full = prefix + name;
    names.add(full);
    const own = [
      "--name",
      full,
      "--network",
      "host",
      "-l",
      "SERVICE_IGNORE=true",
      "--log-opt",
      "max-size=8m",
    ];
    const entry = options.program === undefined ? [] : ["--user", "0", "--entrypoint", options.program];
    const core = options.core === undefined ? [] : ["--cpuset-cpus", String(options.core)];
    const all = [...own, ...entry, ...core, ...(options.docker ?? [])];
    await docker("rm", "-f", "-v", full).catch(() => undefined);
    return new Container(full, await docker("run", "-d", ...all, await image(), ...args));
  }

  async pause(): Promise<void> {
    await docker("pause", this.name);
  }

  async resume(): Promise<void> {
    await docker("unpause", this.name);
  }

  /** The last lines of its log, for error messages. */
  logs(): Promise<string> {
    return docker("logs", "--tail", "20", this.name);
  }

  /** How many lines of its log match. */
  async count(pattern: RegExp): Promise<number> {
    return (await docker("logs", this.name)).split("\n").filter((line) => pattern.test(line)).length;
  }

  pid(): Promise<number> {
    return pidOf(this.name);
  }

  private async stats(): Promise<Stats> {
    const { body } = await engine.ok("GET", `/containers/${this.id}/stats?stream=false&one-shot=true`);
    return JSON.parse(body) as Stats;
  }

  /** The memory that all its processes use, including their files in memory. */
  async memoryBytes(): Promise<number> {
    return (await this.stats()).memory_stats.usage;
  }

  /** The processor time of all its processes so far, in seconds. */
  async cpuSeconds(): Promise<number> {
    const nanoseconds = (await this.stats()).cpu_stats.cpu_usage.total_usage;
    if (nanoseconds === 0)
      throw new Error(`Docker reports no processor time for ${this.name}; its log explains why`);
    return nanoseconds / 1e9;
  }

  async stop(): Promise<void> {
    await docker("rm", "-f", "-v", this.name).catch(() => undefined);
    names.delete(this.name);
  }
}

/** Removes all containers and files of this run. */
export async function cleanUp(): Promise<void> {
  await Promise.all([...names].map((name) => docker("rm", "-f", "-v", name).catch(() => undefined)));
  folder.remove();
}

/** Adds a container that was started elsewhere to those that `cleanUp` removes. */
export function adopt(name: string): void {
  names.add(name);
}
