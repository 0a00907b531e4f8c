/** The HAProxy process: started, kept running, checked, reloaded and stopped. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { env as environment, kill } from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { logPipe } from "./log-pipe";
import { ask } from "./socket";

export interface HaproxyPaths {
  readonly config: string;
  readonly master: string;
  readonly worker: string;
}

/** HAProxy warns of every server that is not up yet, 200 bytes each; more than this ends the check as a failure. */
const maxWarnings = 256 * 1024 * 1024;
const firstDelay = 200;
const longestDelay = 10_000;
const pollWhileStopping = 100;
/** A worker that is stopping may not answer any more. */
const patience = 500;
const startPatience = 10_000;
/** What it said last may still be on its way when its answer or its end is known. */
const lastWords = 50;

/** Lines that every reload brings, and changes of servers, which are in the log on stdout already. */
const routine =
  /\[NOTICE\]|: (config : )?(Server \S+ |'server |backend '\S+' has no server|Proxy \S+ stopped |(?:Former|Current) worker \S+ exited with code 0|All workers exited. Exiting... \(0\))/;

export class Haproxy {
  private process: ChildProcess | undefined;
  private stopping = false;
  private starting = false;
  private delay = firstDelay;
  /** What it says while it starts or reloads; it is not kept otherwise. */
  private said: string[] | undefined;

  constructor(
    private readonly paths: HaproxyPaths,
    private readonly log: (message: string) => void,
    /** Called when a process that ended by itself has been replaced. */
    private readonly onRestart: () => void,
    /** Milliseconds in which it has to start. */
    private readonly patience = startPatience,
  ) {}

  get running(): boolean {
    return this.process !== undefined;
  }

  /** Starts HAProxy and waits until its worker answers. */
  async start(): Promise<void> {
    this.starting = true;
    this.said = [];
    await this.launch().finally(() => {
      this.starting = false;
      this.said = undefined;
    });
  }

  private async launch(): Promise<void> {
    const { master, config } = this.paths;
    // A single arena saves memory where one thread works; HAProxy has several.
    const env = { ...environment, MALLOC_ARENA_MAX: undefined };
    const command = ["haproxy", "-W", "-S", `${master},mode,600`, "-f", config];
    const process = spawn("perl", logPipe(command), {
      env,
      stdio: ["ignore", "inherit", "pipe"],
      // A process group of its own, so that all of it can be ended together.
      detached: true,
    });
    this.process = process;
    let failure: string | undefined;
    process.on("error", (error) => {
      failure = error.message;
    });
    createInterface({ input: process.stderr }).on("line", (line) => {
      if (!routine.test(line)) this.log(`haproxy: ${line}`);
      this.said?.push(line);
    });
    process.on("exit", (code, signal) => {
      failure = `it ended with ${signal ?? `exit code ${code ?? 0}`}`;
      if (this.process !== process) return;
      this.process = undefined;
      endGroup(process);
      // Whoever starts it is told, and says when to try again.
      if (!this.stopping && !this.starting) void this.restart(failure);
    });
    for (const until = Date.now() + this.patience; Date.now() < until;) {
      await sleep(20);
      if (failure !== undefined)
        throw new Error(`HAProxy did not start: ${(await this.complaint()) || failure}`);
      if ((await ask(this.paths.worker, "show version", this.patience).catch(() => "")) !== "") {
        this.delay = firstDelay;
        return;
      }
    }
    // It may be about to listen: left alone, it would go on beside the next one, with routes that nobody changes any more.
    const gone = once(process, "close");
    endGroup(process);
    await gone;
    throw new Error(`HAProxy did not start: its worker gave no answer within ${this.patience / 1000} s`);
  }

  private async restart(failure: string): Promise<void> {
    this.log(`HAProxy is gone (${failure}). Starting it again in ${this.delay} ms.`);
    await sleep(this.delay);
    this.delay = Math.min(this.delay * 2, longestDelay);
    if (this.stopping || this.running) return;
    try {
      await this.start();
      this.onRestart();
    } catch (error) {
      void this.restart(error instanceof Error ? error.message : String(error));
    }
  }

  /** What HAProxy says against a configuration file; nothing when it would load it. */
  validate(config: string): Promise<string | undefined> {
    return new Promise((resolve) => {
      const limits = { timeout: 30_000, maxBuffer: maxWarnings };
      execFile("haproxy", ["-c", "-f", config], limits, (error, stdout, stderr) => {
        if (error === null) resolve(undefined);
        else resolve(firstAlerts(`${stdout}\n${stderr}`) || error.message);
      });
    });
  }

  /** Hands over to a new worker; answers with what went wrong, and then the old one goes on. */
  async reload(): Promise<string | undefined> {
    this.said = [];
    try {
      const answer = await ask(this.paths.master, "reload", 30_000);
      if (answer.startsWith("Success=1")) return undefined;
      // What only fails once the configuration is loaded, such as a limit of the process, is not in the answer.
      return firstAlerts(answer) || (await this.complaint()) || answer.slice(0, 500);
    } finally {
      this.said = undefined;
    }
  }

  private async complaint(): Promise<string> {
    await sleep(lastWords);
    return firstAlerts(this.said?.join("\n") ?? "");
  }

  /**
   * No new connections; requests that are under way may end within `grace` milliseconds. HAProxy would also wait for
   * clients to give up idle connections, so it is ended once no request is left.
   */
  async stop(grace: number): Promise<void> {
    this.stopping = true;
    const { process } = this;
    if (process === undefined) return;
    const exit = new Promise<"ended">((resolve) =>
      process.once("exit", () => {
        resolve("ended");
      }),
    );
    process.kill("SIGUSR1");
    for (const until = Date.now() + grace; Date.now() < until;) {
      if ((await Promise.race([exit, sleep(pollWhileStopping)])) === "ended") return;
      if ((await this.requests().catch(() => 1)) === 0) break;
    }
    process.kill("SIGTERM");
    await exit;
  }

  /** How many requests and TCP connections are open, also in workers that a reload has replaced. */
  private async requests(): Promise<number> {
    const workers = (await ask(this.paths.master, "show proc", patience)).matchAll(/^(\d+)\s+worker\s/gm);
    let open = 0;
    for (const [, pid] of workers) {
      const sessions = await ask(this.paths.master, `@!${pid ?? ""} show sess`, patience);
      open += [...sessions.matchAll(/^0x\S+ .*fe=(\S+)/gm)].filter(
        ([, frontend]) => frontend !== "GLOBAL",
      ).length;
    }
    return open;
  }
}

/** Ends HAProxy with all its workers, and what passes its log on. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}

function firstAlerts(output: string): string {
  const alerts = output.split("\n").filter((line) => line.includes("[ALERT]"));
  return alerts
    .slice(0, 3)
    .map((line) => line.replace(/^.*\[ALERT\]\s+\(\d+\) : /, ""))
    .join("; ");
}
