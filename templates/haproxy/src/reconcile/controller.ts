/** The loop: what Consul says -> what is held -> routing -> configuration -> the running HAProxy. */
import {
  buildRouting,
  type Catalog,
  type Problem,
  type Routing,
  type RoutingOptions,
} from "../../../../routing/build";
import { settingsValues } from "../../../../routing/settings";
import type { Applier, Done } from "./reconciler";
import { toConfig, toMapFile, render } from "../config/render";
import type { RenderOptions } from "../config/types";
import type { Held } from "../consul/retention-policy";
import { Holder } from "../consul/retention";
import type { Metrics } from "../metrics";
import { isTaken } from "../health/tcp-probe";
import { ServicesRefused } from "./quarantine";
import { ProblemLog } from "./report";
import { readSnapshot, writeSnapshot } from "../consul/snapshot";
import type { Watch } from "../consul/watcher";

export interface ControllerOptions {
  /** Our own ports, which no TCP service gets. */
  readonly ownPorts: ReadonlyMap<number, string>;
  /** How many files HAProxy may open, where that is bounded. */
  readonly maxFiles?: number | undefined;
  /** Milliseconds. */
  readonly holdTime: number;
  /** From 0 to 1. */
  readonly holdShare: number;
  readonly snapshot: string;
  readonly log: (message: string) => void;
  readonly metrics: Metrics;
  /** Servers (`backend/server`) of versions that HAProxy finds down. */
  readonly down: () => ReadonlySet<string>;
}

export interface Change extends Done {
  readonly at: string;
  readonly milliseconds: number;
}

/** Changes that come in a burst, as those of one container do, are applied together. */
const quiet = 5;
const longestWait = 50;
/** One by itself waits for what may be missing of it; answers about checks are small, and come when those about services do. */
const pauses = { nothing: 0, checks: 1, services: quiet };
const persistAfter = 500;
/** Keeping the state on disk takes at most one part in this of the time, however much there is to keep. */
const persistParts = 50;
const bootPatience = 2_000;
const compareEvery = 30_000;
/** Comparing takes at most one part in this of the time, and is done at least every five minutes. */
const compareParts = 1_000;
const compareAtLeastEvery = 300_000;
const firstRetry = 500;
const longestRetry = 30_000;
const changesKept = 50;

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Controller {
  routing: Routing | undefined;
  readonly holder: Holder;
  readonly changes: Change[] = [];
  /** Whether what Consul says has been applied at least once. */
  synced = false;
  appliedIndex = 0;
  lastFailure: string | undefined;
  /** Why HAProxy has to be reloaded before all of the routing is in force. */
  pending: readonly string[] = [];

  private readonly problemLog: ProblemLog;
  private snapshot: Catalog | undefined;
  private before: Catalog | undefined;
  private readonly busyPorts = new Map<number, string>();
  /** Services that HAProxy has refused, with the registrations that it was about. */
  private readonly refused = new Map<string, { readonly why: string; readonly what: string }>();
  private dirtySince: number | undefined;
  private timer: NodeJS.Timeout | undefined;
  private atOnce: NodeJS.Immediate | undefined;
  private lastRun = -Infinity;
  private running: Promise<void> | undefined;
  private persisting: NodeJS.Timeout | undefined;
  private persistCost = 0;
  private retry = firstRetry;
  private retrying: NodeJS.Timeout | undefined;
  private comparing: NodeJS.Timeout | undefined;
  /** The settings and pins in force. */
  private lastGood: NonNullable<RoutingOptions["lastGood"]> = {};
  private stopped = false;
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly options: ControllerOptions,
    private readonly applier: Pick<Applier, "apply" | "compare" | "persist" | "proven" | "tcpPorts">,
    private readonly watch: () => Pick<Watch, "catalog" | "index" | "connected" | "missing">,
  ) {
    const { holdTime, holdShare, log } = options;
    this.problemLog = new ProblemLog(log);
    this.holder = new Holder({
      holdTime,
      holdShare,
      log,
      changed: () => {
        this.changed();
      },
    });
  }

  /** What is routed by: what Consul says, and what is held. */
  get catalog(): Catalog | undefined {
    return this.before;
  }

  get held(): ReadonlyMap<string, Held> {
    return this.holder.held;
  }

  async start(): Promise<void> {
    this.snapshot = await readSnapshot(this.options.snapshot).catch(() => undefined);
    if (this.snapshot !== undefined) {
      const { settings, pins } = buildRouting(this.snapshot, this.capacity);
      this.lastGood = { settings, pins };
      this.timers.push(
        setTimeout(() => {
          this.bootFromSnapshot();
        }, bootPatience),
      );
    }
    this.holder.start();
    this.compareAfter(compareEvery);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.cancel();
    this.holder.stop();
    for (const timer of this.timers) clearTimeout(timer);
    clearTimeout(this.comparing);
    clearTimeout(this.retrying);
    await this.running;
    if (this.persisting !== undefined) await this.persist();
  }

  /** Consul, time or HAProxy has changed something: look soon. */
  changed(): void {
    if (this.stopped) return;
    const now = performance.now();
    this.dirtySince ??= now;
    this.cancel();
    const run = () => {
      this.run();
    };
    const pause = now - this.lastRun > longestWait ? pauses[this.watch().missing] : quiet;
    if (pause === 0) this.atOnce = setImmediate(run);
    else this.timer = setTimeout(run, Math.min(pause, Math.max(0, this.dirtySince + longestWait - now)));
  }

  private cancel(): void {
    clearTimeout(this.timer);
    clearImmediate(this.atOnce);
  }

  /** Consul has a higher index, and nothing to do for it. */
  advanced(): void {
    if (this.dirtySince !== undefined && this.watch().missing === "nothing") this.changed();
    const busy = this.running !== undefined || this.dirtySince !== undefined || this.pending.length > 0;
    if (!busy && this.synced) this.appliedIndex = this.watch().index;
  }

  /** Settles when no change is being applied any more. */
  async done(): Promise<void> {
    await this.running;
  }

  /** HAProxy ended and is back with what its file says. */
  restarted(): void {
    this.options.metrics.reload("recovery");
    void this.compare();
  }

  private run(): void {
    if (this.running !== undefined || this.stopped) return;
    const since = this.dirtySince ?? performance.now();
    this.dirtySince = undefined;
    this.running = this.cycle(since)
      .then((failure) => {
        this.retry = firstRetry;
        this.failed(failure);
      })
      .catch((error: unknown) => {
        this.options.metrics.failure();
        this.failed(message(error));
        clearTimeout(this.retrying);
        this.retrying = setTimeout(() => {
          this.changed();
        }, this.retry);
        this.retry = Math.min(this.retry * 2, longestRetry);
      })
      .finally(() => {
        this.running = undefined;
        this.lastRun = performance.now();
        if (this.dirtySince !== undefined) this.changed();
      });
  }

  private failed(failure: string | undefined): void {
    if (failure !== undefined && failure !== this.lastFailure)
      this.options.log(`Not applied, the last good configuration stays: ${failure}`);
    this.lastFailure = failure;
  }

  /** Answers with why not all of it could be applied, if it was tried. */
  private async cycle(since: number): Promise<string | undefined> {
    const { index, connected } = this.watch();
    const fromConsul = this.watch().catalog();
    const before = this.before ?? this.snapshot;
    const { synced } = this;
    const catalog =
      fromConsul === undefined ? this.before : this.holder.filter(fromConsul, before, { connected, synced });
    if (catalog === undefined) return undefined;
    const routing = await this.route(catalog);
    const applied = await this.applier.apply(routing).catch((error: unknown) => {
      if (!(error instanceof ServicesRefused)) throw error;
      for (const [service, why] of error.services)
        this.refused.set(service, { why, what: registrations(catalog, service) });
      return "refused" as const;
    });
    if (applied === "refused") return this.cycle(since);
    this.problemLog.announce(this.routing?.problems ?? [], routing.problems);
    this.routing = routing;
    this.before = catalog;
    this.pending = applied.pending;
    const { settings, pins } = routing;
    this.lastGood = { settings: this.pending.length === 0 ? settings : this.lastGood.settings, pins };
    if (fromConsul !== undefined) {
      this.synced = true;
      // What has come meanwhile without making anything different is in force as well.
      const reached = this.dirtySince === undefined ? this.watch().index : index;
      if (this.pending.length === 0) this.appliedIndex = reached;
    }
    if (applied.done !== undefined) this.tell(applied.done, since);
    return applied.failure;
  }

  private tell(done: Done, since: number): void {
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

  private get capacity(): Pick<RoutingOptions, "maxFiles"> {
    const { maxFiles } = this.options;
    return maxFiles === undefined ? {} : { maxFiles };
  }

  private async route(catalog: Catalog): Promise<Routing> {
    const { ownPorts } = this.options;
    for (const [service, { what }] of this.refused)
      if (registrations(catalog, service) !== what) this.refused.delete(service);
    const { lastGood } = this;
    const build = () =>
      buildRouting(catalog, {
        lastGood,
        ...this.capacity,
        reservedPorts: new Map([...ownPorts, ...this.busyPorts]),
        proven: this.applier.proven,
        down: this.options.down(),
        refused: new Map([...this.refused].map(([service, { why }]) => [service, why])),
      });
    const routing = build();
    const open = this.applier.tcpPorts;
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

  private compareAfter(pause: number): void {
    this.comparing = setTimeout(() => {
      const start = performance.now();
      void this.compare().finally(() => {
        const took = performance.now() - start;
        if (!this.stopped)
          this.compareAfter(Math.min(Math.max(took * compareParts, compareEvery), compareAtLeastEvery));
      });
    }, pause);
  }

  private async compare(): Promise<void> {
    const same = await this.applier.compare().catch((error: unknown) => {
      this.options.log(`HAProxy cannot be compared: ${message(error)}`);
      return false;
    });
    if (same && this.busyPorts.size === 0) return;
    // A port that was taken may be free by now.
    this.busyPorts.clear();
    this.changed();
  }

  private persistSoon(): void {
    const pause = Math.max(persistAfter, this.persistCost * persistParts);
    this.persisting ??= setTimeout(() => void this.persist(), pause);
  }

  /** With the values that are in force in place of those that cannot be used, for the day that this process begins anew. */
  private inForce(catalog: Catalog): Catalog {
    const { settings, pins } = this.lastGood;
    return {
      ...catalog,
      kv: {
        ...catalog.kv,
        ...(settings && settingsValues(settings, catalog.kv)),
        ...Object.fromEntries(pins ?? []),
      },
    };
  }

  private async persist(): Promise<void> {
    clearTimeout(this.persisting);
    this.persisting = undefined;
    const start = performance.now();
    try {
      await this.applier.persist();
      if (this.before !== undefined) await writeSnapshot(this.options.snapshot, this.inForce(this.before));
    } catch (error) {
      this.options.log(`The state cannot be kept on disk: ${message(error)}`);
    }
    this.persistCost = performance.now() - start;
  }
}

const registrations = ({ instances }: Catalog, service: string): string =>
  JSON.stringify(instances.filter((instance) => instance.service === service));

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
