/**
 * The main thread. It owns HAProxy and starts the renderer in a thread of its own. A renderer that fails may leave anything
 * half-done in its memory, so it is never continued: HAProxy goes on with what it has, and a new renderer takes over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../../../lib/errors";
import { Haproxy, type HaproxyPaths, type Inherited } from "../haproxy/process";
import { awaitSuccessor, type Predecessor } from "./handover";
import { aliveMs, type FromRenderer, type RendererData, type ToRenderer } from "./messages";

const firstDelayMs = 100;
const longestDelayMs = 30_000;
/** How long a renderer may take to end. */
const rendererTimeoutMs = 5_000;
/** A renderer that has run this long starts the delays anew when it fails. */
const steadyMs = 60_000;

/** A renderer that is silent this many times `aliveMs` is stuck. Times that have passed at once count as one. */
const silentUntilEnded = 6;

export interface SupervisorOptions {
  /** The file that the renderer's thread runs. */
  readonly program: string;
  readonly options: RendererData["options"];
  readonly haproxy: HaproxyPaths;
  readonly log: (message: string) => void;
  /** The very first renderer has failed before it could follow Consul. */
  readonly unusable: () => void;
  /** The unix socket at which a load balancer that replaces this one asks it to hand over. */
  readonly handover: string;
  /** The load balancer that this one replaces. */
  readonly predecessor?: Predecessor | undefined;
  /** HAProxy serves for the first time. */
  readonly serving: () => void;
  /** A successor has taken over, and the last connection has ended. */
  readonly drained: () => void;
  /** How often to check whether the renderer is stuck. Default: `aliveMs`. */
  readonly watchMs?: number;
}

export class Supervisor {
  private readonly haproxy: Haproxy;
  private renderer: Worker | undefined;
  private hasServed = false;
  private hasLoaded = false;
  private hasSettled = false;
  private restarts = 0;
  private delayMs = firstDelayMs;
  private timer: NodeJS.Timeout | undefined;
  /** Settles once HAProxy has loaded what a renderer wanted. */
  private loading: Promise<unknown> = Promise.resolve();
  /** Set by `stop`: the renderer has nothing left to do. */
  private stopped: (() => void) | undefined;

  constructor(private readonly options: SupervisorOptions) {
    const about = (kind: "ended" | "restarted") => () => {
      this.tell({ kind, status: this.status });
    };
    const { predecessor } = options;
    this.haproxy = new Haproxy(
      options.haproxy,
      options.log,
      { ended: about("ended"), restarted: about("restarted") },
      { inherited: predecessor?.haproxy },
    );
    void predecessor?.gone.then(() => {
      this.haproxy.lose();
    });
  }

  start(): void {
    const { program, options, log } = this.options;
    const startedAt = performance.now();
    const workerData: RendererData = {
      options,
      haproxy: this.status,
      restarts: this.restarts,
      predecessor: this.haproxy.predecessor,
    };
    const renderer = new Worker(program, { workerData });
    this.renderer = renderer;
    renderer.on("message", (message: FromRenderer) => {
      this.receive(message);
    });
    renderer.on("error", (error) => {
      log(`The renderer failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    });
    const watch = this.watch(renderer);
    renderer.on("exit", () => {
      clearInterval(watch);
      this.ended(startedAt);
    });
  }

  /** Ends a renderer that is stuck, as in a loop: HAProxy would go on with routes that never change. */
  private watch(renderer: Worker): NodeJS.Timeout {
    const { log, watchMs = aliveMs } = this.options;
    let silent = 0;
    renderer.on("message", () => (silent = 0));
    return setInterval(() => {
      // Docker sees that the first one does not become ready.
      if (!this.hasServed || ++silent !== silentUntilEnded) return;
      log("The renderer is stuck. Ending it.");
      void renderer.terminate();
    }, watchMs).unref();
  }

  /** Has the renderer drop the instances that it retains. */
  release(): void {
    this.tell({ kind: "release" });
  }

  /** Ends the renderer and HAProxy; open requests have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    await Promise.all([this.stopRenderer(), this.haproxy.stop(graceMs)]);
  }

  private async stopRenderer(): Promise<void> {
    clearTimeout(this.timer);
    const stopped = new Promise<void>((resolve) => {
      this.stopped = resolve;
      if (this.renderer === undefined) resolve();
    });
    this.tell({ kind: "stop" });
    const late = sleep(rendererTimeoutMs, "late", { ref: false });
    // One that is stuck does not answer.
    if ((await Promise.race([stopped, late])) === "late") await this.renderer?.terminate();
  }

  /** From here on, the predecessor is not needed, and this load balancer can be one itself. */
  private settle(): void {
    if (this.hasSettled || !this.hasServed || !this.hasLoaded) return;
    this.hasSettled = true;
    this.options.serving();
    this.options.predecessor?.release();
    this.waitForSuccessor();
  }

  private waitForSuccessor(): void {
    const { handover, log } = this.options;
    void awaitSuccessor(handover, {
      handOver: () => this.handOver(),
      released: () => {
        log("Another load balancer has taken over. Connections that are open may go on.");
        void this.haproxy.drain().then(this.options.drained);
      },
      abandoned: () => {
        log("The load balancer that was to take over is gone. Going on.");
        this.stopped = undefined;
        this.start();
        this.waitForSuccessor();
      },
    });
  }

  /** Frees the admin port and the state for a successor. */
  private async handOver(): Promise<Inherited> {
    this.options.log("Another load balancer is about to take over.");
    await this.stopRenderer();
    await this.renderer?.terminate();
    const { worker, master } = this.options.haproxy;
    return { worker, master, ports: this.haproxy.ports };
  }

  private get status(): RendererData["haproxy"] {
    const { running, ports } = this.haproxy;
    return { running, ports };
  }

  private tell(message: ToRenderer): void {
    this.renderer?.postMessage(message);
  }

  private receive(message: FromRenderer): void {
    switch (message.kind) {
      case "load":
        this.loading = this.load(message.ports);
        return;
      case "serving":
        this.hasServed = true;
        this.settle();
        return;
      case "stopped":
        this.stopped?.();
        return;
      case "alive":
    }
  }

  private async load(ports: ReadonlySet<number>): Promise<void> {
    const failure = await this.haproxy.load(ports).then(() => undefined, messageOf);
    this.hasLoaded ||= failure === undefined;
    this.settle();
    this.tell({ kind: "loaded", status: this.status, ...(failure === undefined ? {} : { failure }) });
  }

  private ended(startedAt: number): void {
    this.renderer = undefined;
    if (this.stopped !== undefined) this.stopped();
    else if (this.hasServed) this.restart(startedAt);
    else this.options.unusable();
  }

  private restart(startedAt: number): void {
    if (performance.now() - startedAt > steadyMs) this.delayMs = firstDelayMs;
    const { delayMs } = this;
    this.delayMs = Math.min(delayMs * 2, longestDelayMs);
    this.restarts++;
    this.options.log(`Starting the renderer again in ${delayMs} ms. HAProxy keeps its routes meanwhile.`);
    this.timer = setTimeout(() => {
      // A reload that the failed renderer asked for still reads the files that the next one writes.
      void this.loading.then(() => {
        if (this.stopped === undefined) this.start();
      });
    }, delayMs);
  }
}
