import { copyFileSync, mkdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";

import { buildSync } from "esbuild";

import { baseImage } from "../test/e2e/bases";
import { docker } from "../test/e2e/docker";
import { scratch } from "../test/e2e/balancer";

// Everything that is measured runs in containers made from the load balancer's image, on the host's network: the same
// HAProxy, the same kind of log, the same limits for all.

const template = join(__dirname, "../templates/haproxy");
const prefix = "bn-t-";
const names = new Set<string>();
const folder = scratch();
let built: Promise<string> | undefined;

/** A folder for the files of this run. */
export const files = folder.path;

/** The load balancer's image from the working tree, under a tag of the benchmarks' own. */
export function image(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const context = join(files, "image");
  mkdirSync(join(context, "dist"), { recursive: true });
  copyFileSync(join(template, "Dockerfile"), join(context, "Dockerfile"));
  buildSync({
    entryPoints: [join(template, "src/main.ts")],
    outfile: join(context, "dist/main.js"),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
  });
  const tag = "switchyard/haproxy:bench";
  await docker("build", "-q", "--build-arg", `BASE=${baseImage}`, "-t", tag, context);
  return tag;
}

/** The version that a program in the image prints. */
export async function versionInImage(program: string): Promise<string> {
  const printed = await docker("run", "--rm", "--entrypoint", program, await image(), "-v");
  return /\d+\.\d+(?:\.\d+)?/.exec(printed)?.[0] ?? "unknown";
}

export interface RunOptions {
  readonly docker?: readonly string[];
  /** A program of the image other than the load balancer. */
  readonly program?: string;
  /** The one core that it may use. */
  readonly core?: number;
}

/** A container with a name of ours; what it prints is kept as Docker keeps it by default, but bounded. */
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

  /** Its last lines, to say why something failed. */
  logs(): Promise<string> {
    return docker("logs", "--tail", "20", this.name);
  }

  /** How many of its lines match. */
  async count(pattern: RegExp): Promise<number> {
    return (await docker("logs", this.name)).split("\n").filter((line) => pattern.test(line)).length;
  }

  /** Process id of its first process, as this machine sees it. */
  async pid(): Promise<number> {
    return Number(await docker("inspect", "-f", "{{.State.Pid}}", this.name));
  }

  /** Seconds of processor time that all of its processes have used. */
  async cpuSeconds(): Promise<number> {
    interface Stats {
      readonly cpu_stats: { readonly cpu_usage: { readonly total_usage: number } };
    }
    const stats = await engine<Stats>(`/containers/${this.id}/stats?stream=false&one-shot=true`);
    const nanoseconds = stats.cpu_stats.cpu_usage.total_usage;
    if (nanoseconds === 0)
      throw new Error(`Docker cannot tell the processor time of ${this.name}; its log says why`);
    return nanoseconds / 1e9;
  }

  async stop(): Promise<void> {
    await docker("rm", "-f", "-v", this.name).catch(() => undefined);
    names.delete(this.name);
  }
}

function engine<T>(path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    request({ socketPath: "/var/run/docker.sock", path }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("end", () => {
        resolve(JSON.parse(body) as T);
      });
    })
      .on("error", reject)
      .end();
  });
}

/** Removes what this run has started and written. */
export async function cleanUp(): Promise<void> {
  await Promise.all([...names].map((name) => docker("rm", "-f", "-v", name).catch(() => undefined)));
  folder.remove();
}

/** Counts a container that others have started among those to remove. */
export function adopt(name: string): void {
  names.add(name);
}
