/** The HAProxy process: started, kept running, reloaded and stopped. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { env as environment, kill } from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../../../lib/errors";
import { Mutex } from "../../../../lib/mutex";
import type { HaproxyControl } from "./control";
import { logPipe } from "./log-pipe";
import { MessageLog } from "./messages";
import { ask } from "./socket";
import { firstAlerts } from "./validate";

export interface HaproxyPaths {
  readonly config: string;
  /** Sockets. */
  readonly master: string;
  readonly worker: string;
}

export const haproxyPaths = (dir: string, runDir: string): HaproxyPaths => ({
  config: `${dir}/haproxy.cfg`,
  master: `${runDir}/master.sock`,
  worker: `${runDir}/worker.sock`,
});

/** The HAProxy of the load balancer that this one replaces: it serves until its listening sockets have been taken. */
export interface Inherited {
  /** The socket of its worker, through which it passes them on. */
  readonly worker: string;
  /** The socket of its master process. */
  readonly master: string;
  /** As in `HaproxyControl`. */
  readonly ports: ReadonlySet<number>;
}

export interface HaproxyEvents {
  /** HAProxy has ended by itself; it is being started again. */
  readonly ended: () => void;
  /** HAProxy runs again, with what its files say. */
  readonly restarted: () => void;
}

/** How it is noticed that HAProxy runs but answers nothing, such as one that is frozen. */
interface Watch {
  /** Time between two questions. */
  readonly pauseMs: number;
  /** How long it may take to answer one. */
  readonly timeoutMs: number;
}

export interface HaproxyOptions {
  /** How long it may take to start. Default: 10,000. */
  readonly startTimeoutMs?: number;
  readonly watch?: Watch;
  readonly inherited?: Inherited | undefined;
}

const startTimeoutMs = 10_000;
/** Patient: to end an HAProxy that waits for its turn on a busy machine would make matters worse. */
const defaultWatch: Watch = { pauseMs: 2_000, timeoutMs: 10_000 };
/** One alone may be due to a container that was paused, or to a machine that was asleep. */
const unansweredUntilEnded = 3;
const reloadTimeoutMs = 30_000;
/** One that ran this long is started again at once. */
const steadyMs = 10_000;
const firstDelayMs = 200;
const longestDelayMs = 10_000;
const pollWhileStoppingMs = 100;
/** A worker that is stopping may no longer answer. */
const stoppingTimeoutMs = 500;
/** HAProxy's last lines may arrive after its answer or its exit. */
const lastLinesMs = 50;

export class Haproxy implements HaproxyControl {
  private process: ChildProcess | undefined;
  private loaded: ReadonlySet<number>;
  private inherited: Inherited | undefined;
  private stopping = false;
  private starting = false;
  private delayMs = 0;
  /** Its lines while it starts or reloads; they are not kept otherwise. */
  private lines: string[] | undefined;
  private readonly mutex = new Mutex();

  constructor(
    private readonly paths: HaproxyPaths,
    private readonly log: (message: string) => void,
    private readonly events: HaproxyEvents,
    private readonly options: HaproxyOptions = {},
  ) {
    this.inherited = options.inherited;
    this.loaded = options.inherited?.ports ?? new Set();
    this.showInherited();
  }

  /** Has the worker's socket lead to the inherited worker, so that its state can be asked for as usual. */
  private showInherited(): void {
    if (this.inherited === undefined) return;
    mkdirSync(dirname(this.paths.worker), { recursive: true, mode: 0o700 });
    symlinkSync(this.inherited.worker, this.paths.worker);
  }

  get running(): boolean {
    return this.process !== undefined || this.isInherited;
  }

  /** Whether the load balancer before this one still serves. */
  private get isInherited(): boolean {
    return this.inherited !== undefined;
  }

  /** The master's socket of the load balancer before this one, while that one serves. */
  get predecessor(): string | undefined {
    return this.inherited?.master;
  }

  /** The load balancer before this one has ended. */
  lose(): void {
    if (this.inherited === undefined) return;
    this.inherited = undefined;
    this.loaded = new Set();
    this.events.ended();
  }

  get ports(): ReadonlySet<number> {
    return this.loaded;
  }

  load(ports: ReadonlySet<number>): Promise<void> {
    return this.mutex.runExclusive(async () => {
      await (this.process === undefined ? this.start() : this.reload());
      this.inherited = undefined;
      this.loaded = ports;
    });
  }

  /** Starts HAProxy and waits until its worker answers. */
  private async start(): Promise<void> {
    this.starting = true;
    this.lines = [];
    // Only HAProxy's own answers show that it has started.
    if (this.isInherited) rmSync(this.paths.worker, { force: true });
    try {
      await this.launch();
    } catch (error) {
      rmSync(this.paths.worker, { force: true });
      this.showInherited();
      throw error;
    } finally {
      this.starting = false;
      this.lines = undefined;
    }
  }

  private async launch(): Promise<void> {
    const { master, config } = this.paths;
    // A single arena saves memory where one thread works; HAProxy has several.
    const env = { ...environment, MALLOC_ARENA_MAX: undefined };
    const take = this.inherited === undefined ? [] : ["-x", this.inherited.worker];
    const command = ["haproxy", "-W", "-S", `${master},mode,600`, "-f", config, ...take];
    const process = spawn("perl", logPipe(command), {
      env,
      stdio: ["ignore", "inherit", "pipe"],
      // A process group of its own, so that all of it can be ended together.
      detached: true,
    });
    this.process = process;
    let failure: string | undefined;
    let startedAt = Infinity;
    process.on("error", (error) => {
      failure = error.message;
      this.process = undefined;
    });
    const messages = new MessageLog(this.log);
    createInterface({ input: process.stderr }).on("line", (line) => {
      messages.add(line);
      this.lines?.push(line);
    });
    process.on("exit", (code, signal) => {
      failure = `it ended with ${signal ?? `exit code ${code ?? 0}`}`;
      if (this.process !== process) return;
      this.process = undefined;
      endGroup(process);
      // `load` reports a failed start, and its caller decides when to try again.
      if (this.stopping || this.starting) return;
      this.events.ended();
      if (performance.now() - startedAt >= steadyMs) this.delayMs = 0;
      void this.restart(failure);
    });
    const timeoutMs = this.options.startTimeoutMs ?? startTimeoutMs;
    for (const until = Date.now() + timeoutMs; Date.now() < until;) {
      await sleep(20);
      if (failure !== undefined)
        throw new Error(`HAProxy did not start: ${(await this.complaint()) || failure}`);
      if ((await ask(this.paths.worker, "show version", timeoutMs).catch(() => "")) !== "") {
        startedAt = performance.now();
        void this.watch(process);
        return;
      }
    }
    // It may be about to listen: left alone, it would run beside the next one, with routes that never change.
    const gone = once(process, "close");
    endGroup(process);
    await gone;
    throw new Error(`HAProxy did not start: its worker gave no answer within ${timeoutMs / 1000} s`);
  }

  /** Ends a process whose worker answers nothing any more: it would keep the ports, and each request would wait in vain. */
  private async watch(process: ChildProcess): Promise<void> {
    const { pauseMs, timeoutMs } = this.options.watch ?? defaultWatch;
    for (let unanswered = 0; unanswered < unansweredUntilEnded;) {
      await sleep(pauseMs, undefined, { ref: false });
      if (this.process !== process || this.stopping) return;
      // A question in the middle of a reload would say nothing.
      const answer = this.mutex.runExclusive(() => ask(this.paths.worker, "show version", timeoutMs));
      unanswered = await answer.then(
        () => 0,
        () => unanswered + 1,
      );
    }
    if (this.process !== process || this.stopping) return;
    this.log(`HAProxy left ${unansweredUntilEnded} questions in a row unanswered. Ending it.`);
    endGroup(process);
  }

  private async restart(failure: string): Promise<void> {
    const { delayMs } = this;
    this.log(
      `HAProxy is gone (${failure}). Starting it again ${delayMs === 0 ? "now" : `in ${delayMs} ms`}.`,
    );
    await sleep(delayMs);
    this.delayMs = Math.min(Math.max(delayMs * 2, firstDelayMs), longestDelayMs);
    await this.mutex
      .runExclusive(async () => {
        if (this.stopping || this.running) return;
        await this.start();
        this.events.restarted();
      })
      .catch((error: unknown) => this.restart(messageOf(error)));
  }

  /** Hands over to a new worker. If it fails, the old worker goes on. */
  private async reload(): Promise<void> {
    this.lines = [];
    try {
      const answer = await ask(this.paths.master, "reload", reloadTimeoutMs);
      if (answer.startsWith("Success=1")) return;
      // The answer lacks what fails only after the configuration is loaded, such as a limit of the process.
      const why = firstAlerts(answer) || (await this.complaint()) || answer.slice(0, 500);
      throw new Error(`HAProxy did not take the new configuration: ${why}`);
    } finally {
      this.lines = undefined;
    }
  }

  private async complaint(): Promise<string> {
    await sleep(lastLinesMs);
    return firstAlerts(this.lines?.join("\n") ?? "");
  }

  /**
   * Ends HAProxy: no new connections, and open requests have `graceMs` to end. HAProxy would also wait for clients to close
   * idle connections, so it is ended once no request is open.
   */
  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    const { process } = this;
    if (process === undefined) return;
    const exit = softStop(process);
    for (const until = Date.now() + graceMs; Date.now() < until;) {
      if ((await Promise.race([exit, sleep(pollWhileStoppingMs)])) === "ended") return;
      if ((await this.requests().catch(() => 1)) === 0) break;
    }
    process.kill("SIGTERM");
    await exit;
  }

  /** Ends HAProxy once its last connection has ended, or at the limit in its configuration (`hard-stop-after`). */
  async drain(): Promise<void> {
    this.stopping = true;
    if (this.process !== undefined) await softStop(this.process);
  }

  /** The number of open requests and TCP connections, including those of workers that a reload has replaced. */
  private async requests(): Promise<number> {
    const workers = (await ask(this.paths.master, "show proc", stoppingTimeoutMs)).matchAll(
      /^(\d+)\s+worker\s/gm,
    );
    let open = 0;
    for (const [, pid] of workers) {
      const sessions = await ask(this.paths.master, `@!${pid ?? ""} show sess`, stoppingTimeoutMs);
      open += [...sessions.matchAll(/^0x\S+ .*fe=(\S+)/gm)].filter(
        ([, frontend]) => frontend !== "GLOBAL",
      ).length;
    }
    return open;
  }
}

/** No new connections. Settles when HAProxy has ended. */
function softStop(process: ChildProcess): Promise<"ended"> {
  const exit = new Promise<"ended">((resolve) =>
    process.once("exit", () => {
      resolve("ended");
    }),
  );
  process.kill("SIGUSR1");
  return exit;
}

/** Ends HAProxy with all its workers and its log pipe. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}
