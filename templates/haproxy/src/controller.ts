/** The loop: what Consul says -> what is held -> routing -> configuration -> the running HAProxy. */
import { buildRouting, type Catalog, type Problem, type Routing } from "../../../model/routes";
import type { Applied, Applier } from "./apply";
import { toConfig, toMapFile, render, type RenderOptions } from "./render";
import { hold, instanceKey, place, type Held } from "./hold";
import type { Metrics } from "./metrics";
import { isTaken, listens } from "./probe";
import { problemChanges, some } from "./report";
import { readSnapshot, writeSnapshot } from "./snapshot";
import type { Watch } from "./watch";

export interface ControllerOptions {
  /** Our own ports, which no TCP service gets. */
  readonly ownPorts: ReadonlyMap<number, string>;
  /** Milliseconds. */
  readonly holdTime: number;
  readonly snapshot: string;
  readonly log: (message: string) => void;
  readonly metrics: Metrics;
}

export interface Change {
  readonly at: string;
  readonly how: NonNullable<Applied>["how"];
  readonly what: string;
  readonly milliseconds: number;
}

/** Changes that come in a burst, as those of one container do, are applied together. */
const quiet = 5;
const longestWait = 50;
const persistAfter = 500;
const bootPatience = 2_000;
const probeEvery = 1_000;
const compareEvery = 30_000;
const firstRetry = 500;
const longestRetry = 30_000;
const changesKept = 50;

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Controller {
  routing: Routing | undefined;
  held: ReadonlyMap<string, Held> = new Map();
  readonly changes: Change[] = [];
  /** Whether what Consul says has been applied at least once. */
  synced = false;
  appliedIndex = 0;
  lastFailure: string | undefined;

  private snapshot: Catalog | undefined;
  private before: Catalog | undefined;
  private doubtUntil = 0;
  private readonly gone = new Set<string>();
  private readonly busyPorts = new Map<number, string>();
  private dirtySince: number | undefined;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private persisting: NodeJS.Timeout | undefined;
  private retry = firstRetry;
  private stopped = false;
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly options: ControllerOptions,
    private readonly applier: Applier,
    private readonly watch: () => Watch,
  ) {}

  async start(): Promise<void> {
    this.snapshot = await readSnapshot(this.options.snapshot).catch(() => undefined);
    if (this.snapshot !== undefined) {
      this.timers.push(
        setTimeout(() => {
          this.bootFromSnapshot();
        }, bootPatience),
      );
    }
    this.timers.push(setInterval(() => void this.probeHeld(), probeEvery));
    this.timers.push(setInterval(() => void this.compare(), compareEvery));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    for (const timer of this.timers) clearInterval(timer);
    await this.running;
    if (this.persisting !== undefined) await this.persist();
  }

  doubt(why: string): void {
    this.doubtUntil = Date.now() + this.options.holdTime;
    this.options.log(
      `Consul: ${why}. What is routed stays, until Consul or the instances themselves say otherwise.`,
    );
  }

  /** Consul, time or HAProxy has changed something: look soon. */
  changed(): void {
    if (this.stopped) return;
    const now = performance.now();
    this.dirtySince ??= now;
    clearTimeout(this.timer);
    const left = Math.max(0, this.dirtySince + longestWait - now);
    this.timer = setTimeout(
      () => {
        this.run();
      },
      Math.min(quiet, left),
    );
  }

  /** Consul has a higher index, and nothing to do for it. */
  advanced(): void {
    if (this.running !== undefined || this.dirtySince !== undefined) this.changed();
    else if (this.synced) this.appliedIndex = this.watch().index;
  }

  /** HAProxy ended and is back with what its file says. */
  restarted(): void {
    this.options.metrics.reload("HAProxy ended by itself");
    void this.compare();
  }

  private run(): void {
    if (this.running !== undefined || this.stopped) return;
    const since = this.dirtySince ?? performance.now();
    this.dirtySince = undefined;
    this.running = this.cycle(since)
      .then(() => {
        this.retry = firstRetry;
        this.lastFailure = undefined;
      })
      .catch((error: unknown) => {
        this.options.metrics.failure();
        if (this.lastFailure !== message(error))
          this.options.log(`Not applied, the last good configuration stays: ${message(error)}`);
        this.lastFailure = message(error);
        this.timers.push(
          setTimeout(() => {
            this.changed();
          }, this.retry),
        );
        this.retry = Math.min(this.retry * 2, longestRetry);
      })
      .finally(() => {
        this.running = undefined;
        if (this.dirtySince !== undefined) this.changed();
      });
  }

  private async cycle(since: number): Promise<void> {
    const { index } = this.watch();
    const fromConsul = this.watch().catalog();
    const catalog = fromConsul === undefined ? this.before : this.withHeld(fromConsul);
    if (catalog === undefined) return;
    const routing = await this.route(catalog);
    const done = await this.applier.apply(routing);
    for (const change of problemChanges(this.routing?.problems ?? [], routing.problems))
      this.options.log(change);
    this.routing = routing;
    this.before = catalog;
    if (fromConsul !== undefined) {
      this.synced = true;
      this.appliedIndex = index;
    }
    if (done === undefined) return;
    const milliseconds = Math.round((performance.now() - since) * 10) / 10;
    this.options.metrics.converged(milliseconds / 1000);
    this.changes.unshift({ at: new Date().toISOString(), ...done, milliseconds });
    this.changes.length = Math.min(this.changes.length, changesKept);
    const words = {
      start: "started with",
      operations: "changed without a reload:",
      reload: "reloaded because",
    };
    this.options.log(`${words[done.how]} ${done.what} (${milliseconds} ms)`);
    this.persistSoon();
  }

  private withHeld(catalog: Catalog): Catalog {
    const before = this.before ?? this.snapshot;
    const result = hold({
      before: before?.instances ?? [],
      held: this.held,
      now: catalog.instances,
      // What has gone while nobody watched cannot be told from what Consul has lost, so the first answer is doubted too.
      suspicious: Date.now() < this.doubtUntil || !this.synced,
      gone: this.gone,
      time: Date.now(),
      holdTime: this.options.holdTime,
    });
    const fresh = [...result.held.values()].filter(({ instance }) => !this.held.has(instanceKey(instance)));
    const released = [...this.held.values()].filter(
      ({ instance }) => !result.held.has(instanceKey(instance)),
    );
    this.held = result.held;
    if (fresh.length > 0) {
      const names = some(
        fresh.map(({ instance }) => `${instance.service} at ${instance.address}:${instance.port}`),
      );
      this.options.log(
        `held: Consul has dropped ${names} in a suspicious way; they keep their traffic for up to ${this.options.holdTime / 1000} s while they listen.`,
      );
      void this.probeHeld();
    }
    if (released.length > 0)
      this.options.log(`no longer held: ${some(released.map(({ instance }) => instance.service))}`);
    // A place is only known to be gone for as long as it is asked about.
    if (result.held.size === 0) this.gone.clear();
    return { instances: result.instances, kv: catalog.kv };
  }

  private async route(catalog: Catalog): Promise<Routing> {
    const { ownPorts } = this.options;
    const lastGood = this.routing === undefined ? {} : { lastGood: this.routing.settings };
    const build = () =>
      buildRouting(catalog, {
        ...lastGood,
        reservedPorts: new Map([...ownPorts, ...this.busyPorts]),
        proven: this.applier.proven,
      });
    const routing = build();
    const open = new Set(this.routing?.tcp.map(({ port }) => port));
    let found = false;
    for (const { port } of routing.tcp) {
      if (open.has(port) || !(await isTaken(port))) continue;
      this.busyPorts.set(port, "another process on this machine");
      found = true;
    }
    return found ? build() : routing;
  }

  private bootFromSnapshot(): void {
    if (this.synced || this.snapshot === undefined) return;
    this.before = this.snapshot;
    this.options.log(
      `Consul has not answered yet; serving from the last good state (${this.snapshot.instances.length} instances).`,
    );
    this.changed();
  }

  private async probeHeld(): Promise<void> {
    if (this.held.size === 0) return;
    const tries = [...this.held.values()].map(async ({ instance }) => {
      if (await listens(instance.address, instance.port)) this.gone.delete(place(instance));
      else this.gone.add(place(instance));
    });
    await Promise.all(tries);
    this.changed();
  }

  private async compare(): Promise<void> {
    await this.applier.compare().catch((error: unknown) => {
      this.options.log(`HAProxy cannot be compared: ${message(error)}`);
    });
    // A port that was taken may be free by now.
    this.busyPorts.clear();
    this.changed();
  }

  private persistSoon(): void {
    this.persisting ??= setTimeout(() => void this.persist(), persistAfter);
  }

  private async persist(): Promise<void> {
    clearTimeout(this.persisting);
    this.persisting = undefined;
    try {
      await this.applier.persist();
      if (this.before !== undefined) await writeSnapshot(this.options.snapshot, this.before);
    } catch (error) {
      this.options.log(`The state cannot be kept on disk: ${message(error)}`);
    }
  }
}

/** What `--dry` prints: the configuration, the maps and everything that was refused. */
export function dryRun(
  catalog: Catalog,
  options: RenderOptions,
  ownPorts: ReadonlyMap<number, string>,
): string {
  const routing = buildRouting(catalog, { reservedPorts: ownPorts });
  const rendered = render(routing, options);
  const problems = routing.problems.map((problem: Problem) => `# ${problem.level}: ${problem.message}\n`);
  const maps = Object.entries(rendered.maps).map(([name, map]) => `\n# ${name}\n${toMapFile(map)}`);
  return `# haproxy.cfg\n${toConfig(rendered)}${maps.join("")}${problems.length > 0 ? "\n" : ""}${problems.join("")}`;
}
