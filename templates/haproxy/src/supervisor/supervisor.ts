/**
 * The main thread. It owns HAProxy and starts the renderer in a thread of its own. A renderer that fails may leave anything
 * half-done in its memory, so it is never continued: HAProxy goes on with what it has, and a new renderer takes over.
 */
import { Worker } from "node:worker_threads";
import { messageOf } from "../../../../lib/errors";
import { Haproxy, type HaproxyPaths } from "../haproxy/process";
import type { FromRenderer, RendererData, ToRenderer } from "./messages";

const firstDelayMs = 100;
const longestDelayMs = 30_000;
/** A renderer that has run this long starts the delays anew when it fails. */
const steadyMs = 60_000;

export interface SupervisorOptions {
  /** The file that the renderer's thread runs. */
  readonly program: string;
  readonly options: RendererData["options"];
  readonly haproxy: HaproxyPaths;
  readonly log: (message: string) => void;
  /** The very first renderer has failed before it could follow Consul. */
  readonly unusable: () => void;
}

export class Supervisor {
  private readonly haproxy: Haproxy;
  private renderer: Worker | undefined;
  private hasServed = false;
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
    this.haproxy = new Haproxy(options.haproxy, options.log, {
      ended: about("ended"),
      restarted: about("restarted"),
    });
  }

  start(): void {
    const { program, options, log } = this.options;
    const startedAt = performance.now();
    const workerData: RendererData = { options, haproxy: this.status, restarts: this.restarts };
    const renderer = new Worker(program, { workerData });
    this.renderer = renderer;
    renderer.on("message", (message: FromRenderer) => {
      this.receive(message);
    });
    renderer.on("error", (error) => {
      log(`The renderer failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    });
    renderer.on("exit", () => {
      this.ended(startedAt);
    });
  }

  /** Has the renderer drop the instances that it retains. */
  release(): void {
    this.tell({ kind: "release" });
  }

  /** Ends the renderer and HAProxy; open requests have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    clearTimeout(this.timer);
    const rendererStopped = new Promise<void>((resolve) => {
      this.stopped = resolve;
      if (this.renderer === undefined) resolve();
    });
    this.tell({ kind: "stop" });
    await Promise.all([rendererStopped, this.haproxy.stop(graceMs)]);
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
        return;
      case "stopped":
        this.stopped?.();
    }
  }

  private async load(ports: ReadonlySet<number>): Promise<void> {
    const failure = await this.haproxy.load(ports).then(() => undefined, messageOf);
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
