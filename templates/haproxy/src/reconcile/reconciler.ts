/** Makes the running HAProxy what it should be, with the last good state kept whatever happens. */
import type { ServerState } from "../haproxy/commands";
import { atHome } from "../config/counters";
import { Greeter, newcomers, serverOf, type Newcomer } from "../health/readiness-prober";
import { ServicesRefused, servicesNamed } from "./quarantine";
import { Haproxy } from "../haproxy/process";
import type { Metrics } from "../metrics";
import type { Routing } from "../../../../routing/build";
import { ReloadPace } from "./reload-limiter";
import { applied, isSame, loaded, plan, postponed, tcpFrontends } from "./planner";
import { assignPlaces, originOf } from "../config/backend-pool";
import { Reaper, withoutLeft } from "./server-reaper";
import { render } from "../config/render";
import type { Places, Rendered, RenderOptions } from "../config/types";
import { describe, reloadKind, servicesOf } from "./report";
import { Runtime } from "../haproxy/runtime-api";
import { StateFiles } from "./state-files";
import { Mutex } from "../../../../lib/mutex";
import { some } from "../../../../lib/text";
import type { Actual, CertificateChange, Operation } from "../haproxy/types";

const isArrival = (operation: Operation): operation is Extract<Operation, { kind: "add" | "return" }> =>
  operation.kind === "add" || operation.kind === "return";

/** Whether to have answered is all that HAProxy's check asks: of HTTP/2, the greeter only sees that something listens. */
const saysAll = ({ options }: Newcomer): boolean => !options.h2c;

const reloaded = (reasons: readonly string[]): Applied => ({
  done: { how: "reload", what: some(reasons) },
  pending: [],
});

export interface ApplierOptions {
  readonly render: RenderOptions;
  /** How HTTPS is offered at the moment. */
  readonly https: () => RenderOptions["https"];
  readonly log: (message: string) => void;
  readonly metrics: Metrics;
  /** A new instance of a version of a service takes requests. */
  readonly onProven: () => void;
  /** A reload had to wait; it can be had now. */
  readonly onReloadable: () => void;
  /** HAProxy ended by itself and is back. */
  readonly onRestart: () => void;
}

export interface Done {
  readonly how: "start" | "operations" | "reload";
  readonly what: string;
}

export interface Applied {
  /** Undefined when there was nothing to do. */
  readonly done?: Done | undefined;
  /** Why the rest waits for a reload. */
  readonly pending: readonly string[];
  /** Why that reload has failed, if it has. */
  readonly failure?: string | undefined;
}

export class Applier {
  private actual: Actual | undefined;
  private lastGood: Rendered | undefined;
  private places: Places = new Map();
  /** Servers that have been seen to answer, by the names that backends have in the routing. */
  readonly proven = new Set<string>();
  private readonly haproxy: Haproxy;
  private readonly files: StateFiles;
  private readonly pace: ReloadPace;
  private readonly runtime: Runtime;
  private readonly greeter: Greeter;
  /** Servers on their way into HAProxy: they are greeted meanwhile. */
  private arriving: ReadonlySet<string> = new Set();
  private applying: Promise<unknown> = Promise.resolve();
  /** Of everything that talks to the worker. */
  private readonly talking = new Mutex();
  /** Of everything that replaces HAProxy's files, which changes while it runs need not wait for. */
  private readonly filing = new Mutex();
  private readonly reaper = new Reaper(() => this.talking.runExclusive(() => this.reapOnce()));
  /** Why the next `apply` has to reload, apart from what it is given. */
  private readonly reasons = new Set<string>();
  /** Whether the worker has been told to offer HTTPS. */
  private https = false;

  constructor(private readonly options: ApplierOptions) {
    const { dir, runDir } = options.render;
    this.files = new StateFiles(dir, (file) => this.haproxy.validate(file));
    this.pace = new ReloadPace(options.onReloadable);
    this.haproxy = new Haproxy(
      { config: this.files.config, master: `${runDir}/master.sock`, worker: `${runDir}/worker.sock` },
      options.log,
      () => {
        // The process has read the file; what it has in the end is found by comparing.
        if (this.lastGood !== undefined) this.actual = loaded(this.lastGood);
        options.onRestart();
      },
    );
    this.runtime = new Runtime(`${runDir}/worker.sock`, dir);
    this.greeter = new Greeter({
      answered: (newcomer) => this.answered(newcomer),
      wanted: (newcomer) => this.arriving.has(serverOf(newcomer)) || this.serves(newcomer),
    });
  }

  get running(): boolean {
    return this.haproxy.running && this.actual !== undefined;
  }

  /** The ports of TCP services that HAProxy listens on, also of those that are gone. */
  get tcpPorts(): ReadonlySet<number> {
    return new Set(tcpFrontends(this.actual?.parts ?? []).map(({ port }) => port));
  }

  /** Throws with a sentence when nothing of the change can be made; HAProxy then goes on with what it has. */
  apply(routing: Routing): Promise<Applied> {
    const result = this.talking
      .runExclusive(async () => {
        const done =
          this.actual === undefined ? await this.start(routing) : await this.change(this.actual, routing);
        this.reaper.reap();
        return done;
      })
      .finally(() => {
        this.arriving = new Set();
      });
    this.applying = result.catch(() => undefined);
    return result;
  }

  /** Whether the worker really has what it should; the next `apply` puts differences right. */
  compare(): Promise<boolean> {
    return this.talking.runExclusive(async () => {
      if (this.actual === undefined || !this.haproxy.running) return true;
      const found = await this.runtime.actual(this.actual);
      if (isSame(this.actual, found)) return true;
      this.options.metrics.drifted();
      this.actual = found;
      return false;
    });
  }

  /** States, of some backends or of all, by the names that backends have in the routing, wherever they live. */
  async states(backends?: readonly string[]): Promise<ServerState[]> {
    if (!this.running) return [];
    const at = backends?.map((backend) => this.places.get(backend) ?? backend);
    return (await this.runtime.states(at)).map((state) => ({ ...state, ...originOf(state) }));
  }

  validate(config: string): Promise<string | undefined> {
    return this.haproxy.validate(config);
  }

  /**
   * `write` puts the files in place; a worker that does not take the changes, or for which there are `reasons`, is reloaded
   * with the next `apply`.
   */
  useCertificates(
    write: () => Promise<void>,
    changes: readonly CertificateChange[],
    reasons: readonly string[] = [],
  ): Promise<void> {
    return this.talking.runExclusive(async () => {
      await write();
      // A worker that offers no HTTPS yet reads the files when it does.
      if (!this.https) return;
      for (const reason of reasons) this.reasons.add(reason);
      for (const change of changes) {
        const complaints = await this.runtime.certificate(change);
        if (complaints.length === 0) this.options.metrics.operation("certificate");
        else this.reasons.add(`certificate ${change.file} cannot change while running (${some(complaints)})`);
      }
    });
  }

  stop(grace: number): Promise<void> {
    this.pace.forget();
    this.runtime.disconnect();
    return this.haproxy.stop(grace);
  }

  /** Keeps the files in step with what was changed at run time, for the day HAProxy has to be started again. */
  persist(): Promise<void> {
    return this.filing.runExclusive(async () => {
      if (this.lastGood !== undefined) await this.files.write(this.lastGood);
    });
  }

  private async answered(newcomer: Newcomer): Promise<void> {
    const { backend, server } = newcomer;
    await this.applying;
    if (!this.serves(newcomer)) return;
    if (saysAll(newcomer)) await this.runtime.healthy(backend, server);
    if (this.serves(newcomer)) this.proved(newcomer);
  }

  private proved({ backend, server }: Newcomer): void {
    const origin = originOf({ backend, server });
    this.proven.add(serverOf(origin));
    // Only between versions does it decide who gets the requests.
    if (/:v\d+$/.test(origin.backend)) this.options.onProven();
  }

  private serves({ backend, server }: Pick<Newcomer, "backend" | "server">): boolean {
    return this.actual?.backends.get(backend)?.servers.get(server)?.leaving === false;
  }

  /** Those that leave have to show again that they answer when they come back. */
  private forget(operations: readonly Operation[]): void {
    for (const operation of operations)
      if (operation.kind === "leave") this.proven.delete(serverOf(originOf(operation)));
  }

  private async start(routing: Routing): Promise<Applied> {
    const desired = this.render(routing);
    await this.files.prepare(this.options.render.runDir);
    await this.files.writeCounters("");
    await this.files.replace(routing, (some) => this.render(some), new Set());
    await this.haproxy.start().catch((error: unknown) => {
      throw servicesNamed(routing, error) ?? error;
    });
    this.lastGood = desired;
    this.https = this.options.https() !== undefined;
    this.actual = loaded(desired);
    this.greeter.greet(newcomers(desired, () => true));
    return { done: { how: "start", what: `${routing.backends.length} services` }, pending: [] };
  }

  private async change(actual: Actual, routing: Routing): Promise<Applied> {
    const places = assignPlaces(routing, actual, this.places);
    let desired = this.render(routing, places);
    let steps = plan(actual, desired);
    const pending = [...this.reasons, ...(steps.kind === "reload" ? steps.reasons : [])];
    if (pending.length === 0) this.pace.forget();
    else {
      if (await this.reload(routing, pending)) return reloaded(pending);
      desired = postponed(actual, desired, this.lastGood ?? desired);
      steps = plan(actual, desired);
    }
    if (steps.kind === "reload") throw new Error(`a reload cannot be put off (${some(steps.reasons)})`);
    this.places = places;
    const { failure } = this.pace;
    if (steps.kind === "nothing") return { pending, failure };
    const services = servicesOf(steps.operations, this.lastGood, desired);
    const arrivals = steps.operations.filter(isArrival);
    const touched = new Set(arrivals.map(({ backend }) => backend));
    const arriving = (this.arriving = new Set(arrivals.map(serverOf)));
    const coming = newcomers(
      desired,
      (backend, server) => touched.has(backend) && arriving.has(serverOf({ backend, server })),
    );
    const here = coming.length === 0 ? [] : await this.greeter.welcome(coming);
    const answering = new Set(here.filter(saysAll).map(serverOf));
    const complaints = await this.persuade(actual, steps.operations, desired, answering);
    if (complaints.length > 0) {
      this.reasons.add(`HAProxy refused a change while running (${some(complaints)})`);
      const reasons = [...new Set([...pending, ...this.reasons])];
      if (await this.reload(routing, reasons)) return reloaded(reasons);
      return { pending: reasons, failure: this.pace.failure };
    }
    this.lastGood = desired;
    this.forget(steps.operations);
    for (const newcomer of here) this.proved(newcomer);
    return { done: { how: "operations", what: describe(steps.operations, services) }, pending, failure };
  }

  /** What HAProxy has against it in the end. */
  private async persuade(
    actual: Actual,
    operations: readonly Operation[],
    desired: Rendered,
    answering: ReadonlySet<string>,
  ): Promise<string[]> {
    const complaints = await this.operate(actual, operations, answering);
    if (complaints.length === 0) return [];
    // Somebody else has changed the worker, or a server was gone already: look, and do what is left to do.
    this.options.log(`HAProxy refused an operation (${some(complaints)}). Comparing.`);
    this.actual = await this.runtime.actual(actual);
    const rest = plan(this.actual, desired);
    if (rest.kind === "reload") return complaints;
    return rest.kind === "nothing" ? [] : this.operate(this.actual, rest.operations, answering);
  }

  private async operate(
    actual: Actual,
    operations: readonly Operation[],
    answering?: ReadonlySet<string>,
  ): Promise<string[]> {
    const complaints = await this.runtime.apply(operations, answering);
    if (complaints.length > 0) return complaints;
    for (const { kind } of operations) this.options.metrics.operation(kind);
    this.actual = applied(actual, operations);
    return [];
  }

  private render(routing: Routing, places?: Places): Rendered {
    const https = this.options.https();
    return render(routing, { ...this.options.render, ...(https === undefined ? {} : { https }) }, places);
  }

  /**
   * Whether it was had; if not, it is tried again at its time, and the running HAProxy is as it was. With it every service
   * gets a backend of its own name again, and the spare ones are free for the next.
   */
  private async reload(routing: Routing, reasons: readonly string[]): Promise<boolean> {
    return this.pace.allows(reasons) && this.filing.runExclusive(() => this.reloadNow(routing, reasons));
  }

  private async reloadNow(routing: Routing, reasons: readonly string[]): Promise<boolean> {
    const desired = this.render(routing);
    const states = await this.states().catch(() => []);
    const up = new Set(states.filter((state) => state.up).map(serverOf));
    try {
      await this.files.replace(routing, (some) => this.render(some), up);
      this.pace.begins();
      await this.keepCounters();
      const failure = await this.haproxy.reload();
      if (failure === undefined) this.runtime.disconnect();
      else throw new Error(`HAProxy did not take the new configuration: ${failure}`);
    } catch (error) {
      // Where they cannot be written back, they could not be replaced either, or the next change tries again.
      if (this.lastGood !== undefined) await this.files.write(this.lastGood).catch(() => undefined);
      const refused = error instanceof ServicesRefused ? error : servicesNamed(routing, error);
      if (refused !== undefined) throw refused;
      this.options.metrics.failure();
      this.pace.fails(reasons, error instanceof Error ? error.message : String(error));
      return false;
    }
    this.pace.forget();
    this.lastGood = desired;
    this.https = this.options.https() !== undefined;
    this.reasons.clear();
    this.places = new Map();
    this.options.metrics.reload(reloadKind(reasons));
    // What the new worker has may differ from the file; see, and put it right at once.
    this.actual = loaded(desired);
    this.actual = await this.runtime.actual(this.actual);
    const wanted = new Set(
      routing.backends.flatMap(({ name, servers }) => servers.map((s) => `${name}/${s.name}`)),
    );
    for (const server of this.proven) if (!wanted.has(server)) this.proven.delete(server);
    this.greeter.greet(newcomers(desired, (backend, server) => !up.has(serverOf({ backend, server }))));
    const rest = plan(this.actual, desired);
    if (rest.kind === "operations") {
      this.options.metrics.drifted();
      await this.operate(this.actual, rest.operations);
    }
    return true;
  }

  /** As late as can be; a reload that is needed is not given up for them. */
  private async keepCounters(): Promise<void> {
    const dump = await this.runtime.counters().catch(() => "");
    const kept = this.lastGood === undefined ? dump : atHome(dump, this.lastGood, this.places);
    await this.files.writeCounters(kept);
  }

  private async reapOnce(): Promise<number> {
    if (this.actual === undefined) return 0;
    const { actual, left } = await withoutLeft(this.actual, this.runtime);
    this.actual = actual;
    return left;
  }
}
