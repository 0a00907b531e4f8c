/** The loop: Consul's catalog -> with retained instances -> routing -> one turn of the reconciler. */
import { messageOf } from "../../../../lib/errors";
import { isTaken } from "../../../../lib/tcp";
import { buildRouting } from "../../../../routing/build";
import { settingsValues } from "../../../../routing/settings";
import type { Catalog, Routing, RoutingOptions } from "../../../../routing/types";
import { Retention } from "../consul/retention";
import type { Retained } from "../consul/retention-policy";
import type { Names } from "../consul/names";
import { readSnapshot, writeSnapshot } from "../consul/snapshot";
import type { Watcher } from "../consul/watcher";
import type { Metrics } from "../metrics";
import { Persistence } from "./persistence";
import { Quarantine } from "./quarantine";
import type { Reconciler } from "./reconciler";
import { ProblemLog } from "./report";
import type { Done, Turn } from "./turn";
import { TurnScheduler } from "./turn-scheduler";

export interface ControllerOptions {
  /** Our own ports, which no TCP service gets. */
  readonly ownPorts: ReadonlyMap<number, string>;
  /** How many files HAProxy may open; undefined without a bound. */
  readonly maxFiles?: number | undefined;
  /** How long an instance that disappeared in a suspect way is retained. */
  readonly retentionMs: number;
  /** The share of all services or instances, from 0 to 1, whose simultaneous loss is suspect. */
  readonly retentionShare: number;
  /** The file of the last good state. */
  readonly snapshot: string;
  readonly log: (message: string) => void;
  readonly metrics: Metrics;
  /** Resolves the names that instances have instead of addresses. */
  readonly names: Pick<Names, "resolutions" | "follow" | "settled" | "stop">;
  /** The files of authorities at hand, with the reason why one cannot be used. */
  readonly authorities: () => ReadonlyMap<string, string | undefined>;
  /** Servers (`backend/server`) of versions that HAProxy finds down. */
  readonly down: () => ReadonlySet<string>;
}

export interface Change extends Done {
  readonly at: string;
  readonly milliseconds: number;
}

/** How long Consul may take to answer before the last good state is served. */
const bootGraceMs = 2_000;
const compareEveryMs = 30_000;
/** Comparing takes at most this share of the time, but happens at least every five minutes. */
const compareShare = 1 / 1_000;
const compareAtLeastEveryMs = 300_000;
/** How long a routing waits for the addresses of names that are new: the first one, and every other. */
const firstNamesMs = 1_000;
const newNamesMs = 20;
const changesKept = 50;

const doneWords: Readonly<Record<Done["how"], string>> = {
  start: "started with",
  operations: "changed without a reload:",
  reload: "reloaded because",
};

export class Controller {
  routing: Routing | undefined;
  readonly retention: Retention;
  readonly changes: Change[] = [];
  /** Whether Consul's catalog has been applied at least once. */
  synced = false;
  /** Consul's index that is in force. */
  appliedIndex = 0;
  /** The index of Consul's KV that is in force. The other one may be ahead of it. */
  appliedKvIndex = 0;
  lastFailure: string | undefined;
  /** Why HAProxy has to be reloaded before all of the routing is in force. */
  pending: readonly string[] = [];

  private readonly scheduler: TurnScheduler;
  private readonly persistence: Persistence;
  private readonly problemLog: ProblemLog;
  private readonly quarantine = new Quarantine();
  private readonly busyPorts = new Map<number, string>();
  private snapshot: Catalog | undefined;
  private applied: Catalog | undefined;
  private booting: NodeJS.Timeout | undefined;
  private comparing: NodeJS.Timeout | undefined;
  /** The settings and pins in force. */
  private lastGood: NonNullable<RoutingOptions["lastGood"]> = {};
  private stopped = false;

  constructor(
    private readonly options: ControllerOptions,
    private readonly reconciler: Pick<
      Reconciler,
      "reconcile" | "depart" | "isReloading" | "compare" | "persist" | "proven" | "ports"
    >,
    private readonly watch: () => Pick<Watcher, "catalog" | "index" | "kvIndex" | "connected" | "missing">,
  ) {
    const { retentionMs, retentionShare, log } = options;
    this.problemLog = new ProblemLog(log);
    this.persistence = new Persistence(() => this.persist(), log);
    this.scheduler = new TurnScheduler({
      turn: (since) => this.turn(since),
      failed: (error) => {
        options.metrics.failure();
        this.setFailure(messageOf(error));
      },
      waits: () => {
        if (this.reconciler.isReloading) void this.depart();
      },
      missing: () => this.watch().missing,
    });
    this.retention = new Retention({
      retentionMs,
      retentionShare,
      log,
      changed: () => {
        this.changed();
      },
    });
  }

  /** What the routing is built from: Consul's catalog with the retained instances. */
  get catalog(): Catalog | undefined {
    return this.applied;
  }

  get retained(): ReadonlyMap<string, Retained> {
    return this.retention.retained;
  }

  async start(): Promise<void> {
    this.snapshot = await readSnapshot(this.options.snapshot).catch(() => undefined);
    if (this.snapshot !== undefined) {
      const { settings, pins, records } = buildRouting(this.snapshot, this.capacity);
      this.lastGood = { settings, pins, records };
      this.booting = setTimeout(() => {
        this.bootFromSnapshot();
      }, bootGraceMs);
    }
    this.retention.start();
    this.compareAfter(compareEveryMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.retention.stop();
    this.options.names.stop();
    clearTimeout(this.booting);
    clearTimeout(this.comparing);
    await this.scheduler.stop();
    await this.persistence.flush();
  }

  /** Something has changed in Consul or HAProxy, or time has run out: take a turn soon. */
  changed(): void {
    this.scheduler.request();
  }

  /** A worker is about to be replaced, which may take long. */
  replacing(): void {
    if (this.scheduler.requested) void this.depart();
  }

  /** Consul has a higher index, and nothing else has changed with it. */
  advanced(): void {
    if (this.scheduler.requested && this.watch().missing === "nothing") this.changed();
    if (this.scheduler.idle && this.pending.length === 0 && this.synced) this.setApplied(this.watch());
  }

  /** Settles once no turn is running. */
  done(): Promise<void> {
    return this.scheduler.done();
  }

  /** HAProxy has ended by itself and runs again with its files. */
  restarted(): void {
    this.options.metrics.reload("recovery");
    void this.compare();
  }

  /** Returns whether another turn has to follow at once. */
  private async turn(since: number): Promise<boolean> {
    const { index, kvIndex } = this.watch();
    const fromConsul = this.watch().catalog();
    const { synced } = this;
    const catalog = fromConsul === undefined ? this.applied : this.retain(fromConsul);
    if (catalog === undefined) return false;
    const routing = await this.route(catalog);
    const turn = await this.reconciler.reconcile(routing, synced || fromConsul !== undefined);
    if (turn.refused !== undefined) this.quarantine.add(turn.refused, catalog);
    else this.commit(catalog, routing, turn);
    if (turn.refused === undefined && fromConsul !== undefined) {
      this.synced = true;
      // Changes that came meanwhile and made no difference are in force as well.
      const reached = this.scheduler.requested ? { index, kvIndex } : this.watch();
      if (this.pending.length === 0 && !turn.again) this.setApplied(reached);
    }
    if (turn.done !== undefined) this.report(turn.done, since);
    if (!turn.again) this.setFailure(turn.failure);
    return turn.again;
  }

  /** A reload may take long, in which nobody may reach an address that its service has left. */
  private async depart(): Promise<void> {
    const fromConsul = this.watch().catalog();
    if (fromConsul === undefined) return;
    await this.reconciler.depart(this.build(this.retain(fromConsul))).catch((error: unknown) => {
      this.options.log(`Instances cannot be removed during the reload: ${messageOf(error)}`);
    });
  }

  private retain(fromConsul: Catalog): Catalog {
    const { connected } = this.watch();
    const { synced } = this;
    return this.retention.filter(fromConsul, this.applied ?? this.snapshot, { connected, synced });
  }

  private commit(catalog: Catalog, routing: Routing, { pending }: Turn): void {
    this.problemLog.announce(this.routing?.problems ?? [], routing.problems);
    this.routing = routing;
    this.applied = catalog;
    this.pending = pending;
    const { settings, pins, records } = routing;
    this.lastGood = { settings: pending.length === 0 ? settings : this.lastGood.settings, pins, records };
  }

  private setApplied({ index, kvIndex }: Pick<Watcher, "index" | "kvIndex">): void {
    this.appliedIndex = index;
    this.appliedKvIndex = kvIndex;
  }

  private setFailure(failure: string | undefined): void {
    if (failure !== undefined && failure !== this.lastFailure)
      this.options.log(`Not applied, the last good configuration stays: ${failure}`);
    this.lastFailure = failure;
  }

  private report(done: Done, since: number): void {
    const milliseconds = Math.round((performance.now() - since) * 10) / 10;
    this.options.metrics.converged(milliseconds / 1000);
    this.changes.unshift({ at: new Date().toISOString(), ...done, milliseconds });
    this.changes.length = Math.min(this.changes.length, changesKept);
    this.options.log(`${doneWords[done.how]} ${done.what} (${milliseconds} ms)`);
    this.persistence.soon();
  }

  private get capacity(): Pick<RoutingOptions, "maxFiles"> {
    const { maxFiles } = this.options;
    return maxFiles === undefined ? {} : { maxFiles };
  }

  private build(catalog: Catalog): Routing {
    return buildRouting(catalog, {
      lastGood: this.lastGood,
      ...this.capacity,
      reservedPorts: new Map([...this.options.ownPorts, ...this.busyPorts]),
      proven: this.reconciler.proven,
      down: this.options.down(),
      authorities: this.options.authorities(),
      hostnames: this.options.names.resolutions,
      refused: this.quarantine.current(catalog),
    });
  }

  private async route(catalog: Catalog): Promise<Routing> {
    const { names } = this.options;
    let routing = this.build(catalog);
    if (names.follow(routing.hostnames.keys())) {
      // With what it routes first, the load balancer replaces what an earlier renderer has left.
      await names.settled(this.routing === undefined ? firstNamesMs : newNamesMs);
      routing = this.build(catalog);
    }
    const open = this.reconciler.ports;
    let found = false;
    for (const { port } of routing.tcp) {
      if (open.has(port) || !(await isTaken(port))) continue;
      this.busyPorts.set(port, "another process on this machine");
      found = true;
    }
    return found ? this.build(catalog) : routing;
  }

  private bootFromSnapshot(): void {
    if (this.synced || this.snapshot === undefined) return;
    this.applied = this.snapshot;
    this.options.log(
      `Consul has not answered yet; serving from the last good state (${this.snapshot.instances.length} instances).`,
    );
    this.changed();
  }

  private compareAfter(waitMs: number): void {
    this.comparing = setTimeout(() => {
      const start = performance.now();
      void this.compare().finally(() => {
        const tookMs = performance.now() - start;
        if (!this.stopped)
          this.compareAfter(Math.min(Math.max(tookMs / compareShare, compareEveryMs), compareAtLeastEveryMs));
      });
    }, waitMs);
  }

  private async compare(): Promise<void> {
    const same = await this.reconciler.compare().catch((error: unknown) => {
      this.options.log(`HAProxy cannot be compared with what it should have: ${messageOf(error)}`);
      return false;
    });
    if (same && this.busyPorts.size === 0) return;
    // A port that was taken may be free by now.
    this.busyPorts.clear();
    this.changed();
  }

  private async persist(): Promise<void> {
    await this.reconciler.persist();
    if (this.applied !== undefined) await writeSnapshot(this.options.snapshot, this.inForce(this.applied));
  }

  /** The catalog with the values in force instead of unusable ones, for the next start. */
  private inForce(catalog: Catalog): Catalog {
    const { settings, pins, records } = this.lastGood;
    return {
      ...catalog,
      kv: {
        ...catalog.kv,
        ...(settings && settingsValues(settings, catalog.kv)),
        ...Object.fromEntries([...(pins ?? []), ...(records ?? [])]),
      },
    };
  }
}
