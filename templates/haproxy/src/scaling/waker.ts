/** Tells the autoscaler which sleeping services have requests: HAProxy writes a file once a second for each of them. */
import { mkdirSync, watch, type FSWatcher } from "node:fs";
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import type { Consul } from "../consul/client";
import { Failure } from "./failure";

const minIntervalMs = 1_000;

export interface WakerOptions {
  /** The folder of the files. */
  readonly dir: string;
  /** The name of this machine in Consul. */
  readonly node: string;
  readonly consul: Pick<Consul, "write">;
  /** The services that sleep, or may. */
  readonly sleeping: () => ReadonlySet<string>;
  readonly log: (message: string) => void;
}

export class Waker {
  private watcher: FSWatcher | undefined;
  private readonly askedAt = new Map<string, number>();
  private readonly failure: Failure;

  constructor(private readonly options: WakerOptions) {
    this.failure = new Failure(options.log);
  }

  start(): void {
    const { dir, log } = this.options;
    const fail = (error: unknown) => {
      log(`It takes longer to wake services: ${dir} cannot be watched (${messageOf(error)}).`);
    };
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      this.watcher = watch(dir, (_, file) => {
        if (file !== null) void this.wake(file.replaceAll(":", "/"));
      });
      this.watcher.on("error", fail);
    } catch (error) {
      fail(error);
    }
  }

  stop(): void {
    this.watcher?.close();
  }

  /** A request waits for the service. */
  async wake(service: string): Promise<void> {
    const { node, consul, sleeping } = this.options;
    const now = performance.now();
    if (!sleeping().has(service) || now - (this.askedAt.get(service) ?? -Infinity) < minIntervalMs) return;
    this.askedAt.set(service, now);
    try {
      await consul.write(scalingKeys.wanted + service, node, { create: true });
      this.failure.ends();
    } catch (error) {
      this.askedAt.delete(service);
      this.failure.begins(`${service} cannot be woken: ${messageOf(error)}`);
    }
  }
}
