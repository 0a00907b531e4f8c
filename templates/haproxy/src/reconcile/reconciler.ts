/**
 * Brings the running HAProxy to the desired state, one turn at a time: desired configuration, plan, execution, commit. A turn that
 * could not do everything asks for another one. Whatever fails, HAProxy goes on with the last good configuration.
 */
import { messageOf } from "../../../../lib/errors";
import { Mutex } from "../../../../lib/mutex";
import { some } from "../../../../lib/text";
import { backendName } from "../../../../routing/grammar";
import type { Routing } from "../../../../routing/types";
import { assignSlots } from "../config/backend-pool";
import type { CertificateChange } from "../config/certificates";
import { countersAfterReload } from "../config/counters";
import { asleepFlag } from "../config/flags";
import { render } from "../config/render";
import type { Origin, Rendered, Slots } from "../config/types";
import type { ServerState, WaitingRequest } from "../haproxy/commands";
import type { HaproxyControl } from "../haproxy/control";
import { FormerWorkers, type WokenServer } from "../haproxy/former-workers";
import { haproxyPaths } from "../haproxy/process";
import { Runtime } from "../haproxy/runtime-api";
import type { Actual, Operation, ServerOperation } from "../haproxy/types";
import { serverOf } from "../health/readiness-prober";
import type { ServiceLoad } from "../scaling/meter";
import { Departures, inheritedFrom, servingIn, serversOf } from "./departures";
import { isSame, loaded, plan, type Plan } from "./planner";
import { portsRefused, type Refused } from "./quarantine";
import { Readiness, type FirstAnswers, type Names } from "./readiness";
import { toSentences, type Reason } from "./reasons";
import { ReloadLimiter } from "./reload-limiter";
import { describe } from "./report";
import { reapServers, ServerReaper } from "./server-reaper";
import { StateFiles } from "./state-files";
import type { ReconcilerOptions, Turn } from "./turn";

/** Two refusals may be a coincidence with somebody else's change; after that, the operation needs a reload. */
const mostRefusals = 2;

/** How long the first HAProxy waits for servers that do not answer: a request is refused until then. */
const startGraceMs = 100;

/** A little longer than any request waits for a service that sleeps. */
const longestHoldMs = 32_000;
const wakeEveryMs = 100;
/** How long after a reload it is certain which workers it has replaced. */
const settledMs = 3_000;

const nobody: FirstAnswers = { answering: [], up: new Set() };

export class Reconciler {
  private actual: Actual | undefined;
  /** The configuration in force. */
  private lastGood: Rendered | undefined;
  private slots: Slots = new Map();
  private readonly readiness: Readiness;
  private readonly haproxy: HaproxyControl;
  /** Whether it is known what an earlier renderer left running. */
  private hasInherited = false;
  private readonly files: StateFiles;
  private readonly limiter: ReloadLimiter;
  private readonly runtime: Runtime;
  private readonly departures: Departures;
  private readonly former: FormerWorkers;
  private turning: Promise<unknown> = Promise.resolve();
  /** Held by everything that changes the worker. */
  private readonly mutex = new Mutex();
  private readonly reaper = new ServerReaper(() => this.mutex.runExclusive(() => this.reap()));
  /** Reasons for a reload beside those of the plan; the reload clears them. */
  private standing: readonly Reason[] = [];
  /** Operations that HAProxy has refused in turns in a row, and how many turns that were. */
  private refusals: { readonly operations: readonly Operation[]; readonly count: number } | undefined;
  private waking: NodeJS.Timeout | undefined;
  private stopped = false;
  /** Whether the worker offers HTTPS. */
  private https = false;
  /** Whether a routing from Consul has been in force. */
  private ready = false;

  constructor(private readonly options: ReconcilerOptions) {
    const { dir, runDir, holding = false, inside } = options.render;
    this.haproxy = options.haproxy;
    this.files = new StateFiles(dir, runDir, holding, inside);
    this.limiter = new ReloadLimiter(options.onReloadable);
    const { master, worker } = haproxyPaths(dir, runDir);
    this.runtime = new Runtime(worker, dir);
    this.departures = new Departures(this.runtime);
    this.former = new FormerWorkers(master, dir);
    this.readiness = new Readiness({
      serves: (server) => this.serves(server),
      originOf: (server) => this.originOf(server),
      settled: () => this.turning,
      healthy: (backend, server) => this.runtime.healthy(backend, server),
      authorities: options.authorities,
      onProven: options.onProven,
    });
  }

  /** Servers (`backend/server`, as in the routing) that have answered. */
  get proven(): ReadonlySet<string> {
    return this.readiness.proven;
  }

  /** What is wrong with servers (as in the routing) that do not answer as they should. */
  get findings(): ReadonlyMap<string, string> {
    return this.readiness.findings;
  }

  get running(): boolean {
    return this.haproxy.running && this.actual !== undefined;
  }

  /** Whether a worker is being started, or replaced. */
  get isReloading(): boolean {
    return this.departures.isOpen;
  }

  /** The ports of HTTPS and of TCP services that HAProxy listens on, including those of services that are gone. */
  get ports(): ReadonlySet<number> {
    return this.haproxy.ports;
  }

  /**
   * Takes one turn towards a routing. Throws if HAProxy cannot be started or asked; it then goes on with what it has.
   * `fromConsul`: whether Consul has answered, so that the routing is not only the last good state.
   */
  reconcile(routing: Routing, fromConsul = true): Promise<Turn> {
    const result = this.mutex
      .runExclusive(async () => {
        this.ready ||= fromConsul;
        if (this.actual === undefined) return this.first(routing);
        const turn = await this.turn(this.actual, routing);
        this.tellFormerWorkers();
        this.reaper.start();
        return turn;
      })
      .finally(() => {
        this.readiness.arrived();
      });
    this.turning = result.catch(() => undefined);
    return result;
  }

  /**
   * While the worker is being replaced, instances that the routing no longer has get no new requests from it, nor from the next
   * one. The next turn does the rest.
   */
  depart(routing: Routing): Promise<void> {
    return this.departures.note(routing, this.actual);
  }

  /** Whether the worker really has what it should; the next turn corrects differences. */
  compare(): Promise<boolean> {
    return this.mutex.runExclusive(async () => {
      if (this.actual === undefined || !this.haproxy.running) return true;
      const same = await this.look(this.actual);
      if (!same) this.options.metrics.drifted();
      return same;
    });
  }

  /** The states of all servers, or of those of some backends, by their names in the routing. */
  async states(backends?: readonly string[]): Promise<ServerState[]> {
    if (!this.running) return [];
    const at = backends?.map((backend) => this.slots.get(backend) ?? backend);
    return (await this.runtime.states(at)).map((state) => {
      const { backend, server } = this.originOf(state);
      return { ...state, backend, server };
    });
  }

  /** The load of every service. */
  async loads(): Promise<ServiceLoad[]> {
    if (!this.running) return [];
    const services = this.services();
    return (await this.runtime.loads()).flatMap(({ backend, ...load }) => {
      const service = services.get(backend);
      return service === undefined ? [] : [{ ...load, service }];
    });
  }

  /** By service, how many requests wait for it to wake. */
  async held(): Promise<ReadonlyMap<string, number>> {
    return this.running && this.options.render.holding === true ? this.runtime.held() : new Map();
  }

  /** Requests that wait for a service that sleeps. */
  async waiting(): Promise<WaitingRequest[]> {
    const services = this.services();
    return (await this.runtime.waiting()).filter(({ backend }) =>
      this.lastGood?.maps["flags.map"].has(asleepFlag(services.get(backend) ?? "")),
    );
  }

  /** The services in force, by the names of their backends. */
  private services(): ReadonlyMap<string, string> {
    return new Map(
      this.lastGood?.backends.flatMap(({ name, service }) =>
        service === undefined ? [] : [[name, service] as const],
      ),
    );
  }

  /** Ends a request. */
  end(request: WaitingRequest): Promise<void> {
    return this.runtime.end(request);
  }

  /**
   * `write` puts the certificates' files in place; then the worker gets the changes. The next turn reloads a worker that
   * refuses one of them, or for which there are `reasons`.
   */
  useCertificates(
    write: () => Promise<void>,
    changes: readonly CertificateChange[],
    reasons: readonly string[] = [],
  ): Promise<void> {
    return this.mutex.runExclusive(async () => {
      await write();
      // A worker that offers no HTTPS yet reads the files once it does.
      if (!this.https) return;
      for (const why of reasons) this.needReload({ kind: "certificate", why });
      for (const change of changes) {
        const complaints = await this.runtime.certificate(change);
        if (complaints.length === 0) this.options.metrics.operation("certificate");
        else {
          const why = `certificate ${change.file} cannot change while running (${some(complaints)})`;
          this.needReload({ kind: "certificate", why });
        }
      }
    });
  }

  /** HAProxy has ended by itself and runs again, with what its files say; the next comparison shows whether that is all. */
  restarted(): void {
    if (this.lastGood !== undefined) this.actual = loaded(this.lastGood);
  }

  /** Lets go of HAProxy, whose worker would not end while it is connected. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.waking);
    this.limiter.reset();
    this.runtime.disconnect();
  }

  /** Writes what was changed at run time, and which servers are up, into the files, in case HAProxy has to start again. */
  persist(): Promise<void> {
    return this.files.exclusively(async () => {
      if (this.lastGood === undefined) return;
      await this.files.write(this.lastGood);
      const states = await this.runtime.states().catch(() => undefined);
      const up = states?.filter((state) => state.up).map(serverOf);
      if (up !== undefined) await this.files.writeStates(this.lastGood, new Set(up));
    });
  }

  /** No turn waits for workers that may be about to end. */
  private tellFormerWorkers(): void {
    void this.former.follow().catch((error: unknown) => {
      this.options.log(`A worker that was replaced does not take a change: ${messageOf(error)}`);
    });
  }

  /** Requests that waited for a service to wake when their worker was replaced still wait there. */
  private wakeFormerWorkers(): void {
    if (this.options.render.holding !== true) return;
    const start = performance.now();
    const wake = async () => {
      const waits = await this.former.wake((service) => this.usableServers(service)).catch(() => true);
      // At first, the master process may not count a worker among those that have been replaced.
      const limitMs = waits ? longestHoldMs : settledMs;
      if (!this.stopped && performance.now() - start < limitMs)
        this.waking = setTimeout(() => void wake(), wakeEveryMs);
    };
    clearTimeout(this.waking);
    void wake();
  }

  /** As the worker has them. */
  private async usableServers(service: string): Promise<WokenServer[]> {
    const name = backendName(service);
    const at = this.slots.get(name) ?? name;
    const known = this.actual?.backends.get(at)?.servers;
    return (await this.runtime.states([at])).flatMap(({ server, up, maintenance }) => {
      const { origin, definition } = known?.get(server) ?? {};
      return up && !maintenance && origin !== undefined && definition !== undefined
        ? [{ name: origin.server, definition, origin }]
        : [];
    });
  }

  private async first(routing: Routing): Promise<Turn> {
    if (this.haproxy.running && !this.hasInherited) return this.inherit(routing);
    const turn = await this.replaceWorker(() => this.start(routing));
    this.reaper.start();
    return turn;
  }

  /** Nobody else replaces files meanwhile, and instances may depart. */
  private replaceWorker<T>(action: () => Promise<T>): Promise<T> {
    return this.departures.during(() => {
      this.options.onReplacing();
      return this.files.exclusively(action);
    });
  }

  /**
   * A renderer that has failed left HAProxy running, or the load balancer that this one replaces still runs. The servers that
   * are up in it have answered, which decides which version of a service gets the requests. The routing was built without
   * knowing this, so nothing changes in this turn.
   */
  private async inherit(routing: Routing): Promise<Turn> {
    const up = await this.runtime.serversUp();
    this.ready ||= (await this.runtime.map("flags.map")).has("ready");
    for (const { name: backend, servers } of routing.backends)
      for (const { name: server } of servers)
        if (up.has(server)) this.readiness.proven.add(serverOf({ backend, server }));
    this.hasInherited = true;
    return { pending: [], again: true };
  }

  /** Starts HAProxy, or has the one that runs take over the configuration. */
  private async start(routing: Routing): Promise<Turn> {
    const desired = this.render(routing);
    const inherits = this.hasInherited;
    const answering = inherits
      ? Promise.resolve(nobody)
      : this.readiness.firstAnswers(desired, () => true, startGraceMs);
    if (inherits) this.limiter.begins();
    const before = inherits ? await this.runtime.states().catch(() => []) : [];
    await this.departures.leave(routing, inheritedFrom(before)).catch(() => undefined);
    await this.files.prepare();
    const refused = await this.files.replace(routing, (some) => this.render(some));
    if (refused.size > 0) return { pending: [], refused, again: true };
    // The services of the pool's slots are no longer known, so their counters start from zero.
    const counters = inherits ? await this.runtime.counters().catch(() => "") : "";
    const ready = await answering;
    const up = new Set([...this.proven, ...ready.up]);
    try {
      await this.load(desired, up, countersAfterReload(counters, desired, new Map()));
    } catch (error) {
      const ports = portsRefused(routing, error);
      if (ports.size === 0) throw error;
      return { pending: [], refused: ports, again: true };
    }
    this.runtime.disconnect();
    const { predecessor } = this.options;
    const fresh = await this.departures.end(loaded(desired));
    if (inherits) {
      this.former.addStates(before, fresh, predecessor);
      this.wakeFormerWorkers();
    }
    this.commit(desired, fresh);
    this.https = this.options.https() !== undefined;
    this.readiness.prove(ready.answering);
    this.readiness.probe(desired, this.proven);
    const services = `${routing.backends.length} services`;
    if (!inherits) return { done: { how: "start", what: services }, pending: [], again: false };
    if (predecessor !== undefined) {
      const what = `${services}, taken over from the load balancer before this one`;
      return { done: { how: "start", what }, pending: [], again: false };
    }
    this.options.metrics.reload("recovery");
    return { done: { how: "reload", what: "the renderer was started again" }, pending: [], again: false };
  }

  /** The servers in `up` start as up, except for those that have departed, and all others as down. */
  private async load(desired: Rendered, up: ReadonlySet<string>, counters: string): Promise<void> {
    await this.files.writeStates(desired, this.departures.without(up));
    await this.files.writeCounters(counters);
    const https = this.options.https();
    const tcp = desired.parts.flatMap((part) => part.tcp?.port ?? []);
    return this.haproxy.load(new Set(https === undefined ? tcp : [https.port, ...tcp]));
  }

  private async turn(actual: Actual, routing: Routing): Promise<Turn> {
    const slots = assignSlots(routing, actual, this.slots);
    const desired = this.render(routing, slots);
    const steps = plan(actual, desired, this.lastGood ?? desired);
    const reasons = [...this.standing, ...steps.reasons];
    const [first] = reasons;
    if (this.limiter.allows(toSentences(reasons)) && first !== undefined) {
      // A reload takes a while, in which nobody may reach an address that its service has left.
      await this.departures.leave(routing, servingIn(actual));
      const turn = await this.replaceWorker(() => this.reload(routing, [first, ...reasons.slice(1)]));
      if (turn !== undefined) return turn;
    }
    this.slots = slots;
    return this.execute(steps, routing, toSentences(reasons));
  }

  private async execute(steps: Plan, routing: Routing, pending: readonly string[]): Promise<Turn> {
    const { operations } = steps;
    const { failure } = this.limiter;
    const said = [...(this.refusals?.operations ?? []), ...operations];
    const { answering, up } = await this.firstAnswers(steps);
    const complaints = await this.runtime.apply(operations, up);
    this.former.note(operations);
    if (complaints.length > 0) await this.look(steps.after);
    else this.commit(steps.inForce, steps.after);
    for (const each of said)
      if (each.kind === "leave" && !this.serves(each)) this.readiness.forget(serverOf(each.origin));
    this.readiness.prove(answering);
    if (complaints.length > 0) {
      const again = this.refuse(operations, complaints);
      return { pending: [...new Set([...pending, ...toSentences(this.standing)])], failure, again };
    }
    this.refusals = undefined;
    for (const { kind } of operations) this.options.metrics.operation(kind);
    const done =
      said.length === 0 ? undefined : ({ how: "operations", what: describe(said, routing) } as const);
    return { ...(done === undefined ? {} : { done }), pending, failure, again: false };
  }

  /**
   * Somebody else may have changed the worker, or a server was gone already: the next turn does what is left. What HAProxy
   * refuses again takes a reload. Returns whether there is anything to be gained from another turn at once.
   */
  private refuse(operations: readonly Operation[], complaints: readonly string[]): boolean {
    const count = (this.refusals?.count ?? 0) + 1;
    this.options.log(`HAProxy refused an operation (${some(complaints)}). Comparing.`);
    if (count === mostRefusals) this.needReload({ kind: "recovery", complaints });
    this.refusals = { operations: count < mostRefusals ? operations : [], count };
    return count <= mostRefusals;
  }

  /** New servers that answer before they are added are added as up. */
  private async firstAnswers({ operations, inForce }: Plan): Promise<FirstAnswers> {
    const arrivals = operations.filter(
      ({ kind }) => kind === "add" || kind === "return",
    ) as ServerOperation[];
    if (arrivals.length === 0) return nobody;
    const touched = new Set(arrivals.map(({ backend }) => backend));
    const arriving = new Set(arrivals.map(serverOf));
    return this.readiness.firstAnswers(
      inForce,
      (backend, server) => touched.has(backend) && arriving.has(serverOf({ backend, server })),
    );
  }

  /**
   * Undefined if the reload failed: then the running HAProxy is as it was, and the limiter says when to try again. The
   * reload is rendered from the same routing, but without slots: every service gets a backend of its own name again, and
   * the whole pool is free for the next services. It is rendered only here, because most turns need no reload.
   */
  private async reload(routing: Routing, reasons: readonly [Reason, ...Reason[]]): Promise<Turn | undefined> {
    const desired = this.render(routing);
    const pending = toSentences(reasons);
    const up = await this.serversUp();
    let refused: Refused;
    try {
      refused = await this.handOver(routing, desired, up);
    } catch (error) {
      refused = portsRefused(routing, error);
      if (refused.size === 0) {
        this.options.metrics.failure();
        this.limiter.fails(pending, messageOf(error));
        await this.restoreFiles();
        return undefined;
      }
    }
    if (refused.size > 0) {
      await this.restoreFiles();
      return { pending, refused, again: true };
    }
    this.runtime.disconnect();
    this.limiter.reset();
    this.standing = [];
    this.refusals = undefined;
    this.slots = new Map();
    this.https = this.options.https() !== undefined;
    this.options.metrics.reload(reasons[0].kind);
    this.readiness.keep(serversOf(routing));
    const fresh = await this.departures.end(loaded(desired));
    if (this.actual !== undefined) this.former.add(this.actual, fresh);
    this.wakeFormerWorkers();
    this.commit(desired, fresh);
    this.readiness.probe(desired, up);
    // What was done to the old worker during the reload is missing in the new one; the next turn does it again.
    const same = await this.look(fresh).catch(() => false);
    if (!same) this.options.metrics.drifted();
    return { done: { how: "reload", what: some(pending) }, pending: [], again: !same };
  }

  /** Returns the services because of which HAProxy will not load the configuration; throws if there is another cause. */
  private async handOver(routing: Routing, desired: Rendered, up: ReadonlySet<string>): Promise<Refused> {
    const refused = await this.files.replace(routing, (some) => this.render(some));
    if (refused.size > 0) return refused;
    this.limiter.begins();
    // Last of all, so that few requests go uncounted. A failed dump must not cancel the reload.
    const dump = await this.runtime.counters().catch(() => "");
    const { lastGood, slots } = this;
    const counters = lastGood === undefined ? dump : countersAfterReload(dump, lastGood, slots);
    await this.load(desired, up, counters);
    return refused;
  }

  /**
   * The servers that the new worker starts with as up. If the old worker does not tell, those that have answered so far: with
   * none of them, every request would fail until the new worker's first checks.
   */
  private async serversUp(): Promise<ReadonlySet<string>> {
    try {
      if (!this.running) throw new Error("HAProxy is not running");
      return new Set((await this.states()).filter(({ up }) => up).map(serverOf));
    } catch (error) {
      this.options.log(
        `The states of the servers cannot be read (${messageOf(error)}). The new worker starts with those as up that have answered so far.`,
      );
      return new Set(this.proven);
    }
  }

  /** If they cannot be written now, they could not be replaced either, or the next turn replaces them. */
  private async restoreFiles(): Promise<void> {
    if (this.lastGood !== undefined) await this.files.write(this.lastGood).catch(() => undefined);
  }

  private commit(inForce: Rendered, actual: Actual): void {
    this.lastGood = inForce;
    this.actual = actual;
  }

  /** Takes what the worker really has for what it has; returns whether that is what it should have. */
  private async look(known: Actual): Promise<boolean> {
    const found = await this.runtime.actual(known);
    this.actual = found;
    return isSame(known, found);
  }

  private needReload(reason: Reason): void {
    this.standing = [...this.standing, reason];
  }

  private render(routing: Routing, slots?: Slots): Rendered {
    const https = this.options.https();
    const { ready } = this;
    return render(
      routing,
      {
        ...this.options.render,
        ready,
        authorities: this.options.authorities(),
        ...(https === undefined ? {} : { https }),
      },
      slots,
    );
  }

  private serves({ backend, server }: Names): boolean {
    return this.actual?.backends.get(backend)?.servers.get(server)?.leaving === false;
  }

  private originOf({ backend, server }: Names): Origin {
    const known = this.actual?.backends.get(backend)?.servers.get(server);
    return known?.origin ?? { backend, server, service: backend };
  }

  private async reap(): Promise<number> {
    if (this.actual === undefined) return 0;
    const { actual, left } = await reapServers(this.actual, this.runtime);
    this.actual = actual;
    return left;
  }
}
