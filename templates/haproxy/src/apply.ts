/** Makes the running HAProxy what it should be, with the last good state kept whatever happens. */
import { mkdir, rename } from "node:fs/promises";
import { serverStateFile, type ServerState } from "./commands";
import { readIfThere, writeWhole } from "./files";
import { atHome, countersFile } from "./counters";
import { Greeter, newcomers, type Newcomer } from "./greet";
import { checkServices, ServicesRefused, servicesNamed } from "./refused";
import { Haproxy } from "./haproxy";
import type { Metrics } from "./metrics";
import type { Routing } from "../../../model/routes";
import { applied, isSame, loaded, plan, postponed, type Actual, type Operation } from "./plan";
import { assignPlaces, originOf } from "./place";
import { Reaper, withoutLeft } from "./reap";
import {
  mapNames,
  render,
  toConfig,
  toMapFile,
  type Places,
  type Rendered,
  type RenderOptions,
} from "./render";
import { describe, isOption, reasonKind, some } from "./report";
import { Runtime } from "./runtime";
import { errorPage, errorPageName, errorPages } from "./sections";
import type { CertificateChange } from "./tls";

/** Each reload leaves a worker behind until its last connection has ended, so many wishes have to share one. */
const reloadInterval = 2_000;

const isArrival = (operation: Operation): operation is Extract<Operation, { kind: "add" | "return" }> =>
  operation.kind === "add" || operation.kind === "return";

const serverOf = ({ backend, server }: { readonly backend: string; readonly server: string }): string =>
  `${backend}/${server}`;

/** The service of each backend that operations touch, as it is or was called. */
function servicesOf(
  operations: readonly Operation[],
  ...configurations: readonly (Rendered | undefined)[]
): Map<string, string> {
  const touched = new Set(
    operations.flatMap((operation) =>
      "backend" in operation ? [operation.backend] : isOption(operation) ? [operation.key] : [],
    ),
  );
  const services = new Map<string, string>();
  for (const configuration of configurations)
    for (const { name, service } of configuration?.backends ?? [])
      if (service !== undefined && touched.has(name)) services.set(name, service);
  return services;
}

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

/** What was done, or undefined when there was nothing to do. */
export type Applied = { readonly how: "start" | "operations" | "reload"; readonly what: string } | undefined;

export class Applier {
  private actual: Actual | undefined;
  private lastGood: Rendered | undefined;
  private places: Places = new Map();
  /** Whether HAProxy makes backends while it runs, found by asking it. */
  private native = false;
  /** Servers that have been seen to answer, by the names that backends have in the routing. */
  readonly proven = new Set<string>();
  private readonly haproxy: Haproxy;
  private readonly runtime: Runtime;
  private readonly greeter: Greeter;
  /** Servers on their way into HAProxy: they are greeted meanwhile. */
  private arriving: ReadonlySet<string> = new Set();
  private applying: Promise<unknown> = Promise.resolve();
  /** Serialises everything that talks to the worker. */
  private last: Promise<unknown> = Promise.resolve();
  private readonly reaper = new Reaper(() => this.alone(() => this.reapOnce()));
  /** Why the next `apply` has to reload, apart from what it is given. */
  private reasons: string[] = [];
  /** Whether the worker has been told to offer HTTPS. */
  private https = false;
  private reloadedAt = -Infinity;
  private waiting: NodeJS.Timeout | undefined;

  constructor(private readonly options: ApplierOptions) {
    const { dir, runDir } = options.render;
    this.haproxy = new Haproxy(
      { config: `${dir}/haproxy.cfg`, master: `${runDir}/master.sock`, worker: `${runDir}/worker.sock` },
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

  /** Throws with a sentence when the change cannot be made; HAProxy then goes on with what it has. */
  apply(routing: Routing): Promise<Applied> {
    const result = this.alone(async () => {
      const done =
        this.actual === undefined ? await this.start(routing) : await this.change(this.actual, routing);
      this.reaper.reap();
      return done;
    }).finally(() => {
      this.arriving = new Set();
    });
    this.applying = result.catch(() => undefined);
    return result;
  }

  /** Looks at what the worker really has, so that the next `apply` puts differences right. */
  compare(): Promise<void> {
    return this.alone(async () => {
      if (this.actual === undefined || !this.haproxy.running) return;
      const found = await this.runtime.actual(this.actual);
      if (!isSame(this.actual, found)) this.options.metrics.drifted();
      this.actual = found;
    });
  }

  /** States by the names that backends have in the routing, wherever they live. */
  async states(): Promise<ServerState[]> {
    if (!this.running) return [];
    return (await this.runtime.states()).map((state) => ({ ...state, ...originOf(state) }));
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
    return this.alone(async () => {
      await write();
      // A worker that offers no HTTPS yet reads the files when it does.
      if (!this.https) return;
      this.reasons.push(...reasons);
      for (const change of changes) {
        const complaints = await this.runtime.certificate(change);
        if (complaints.length === 0) this.options.metrics.operation("certificate");
        else
          this.reasons.push(`certificate ${change.file} cannot change while running (${some(complaints)})`);
      }
    });
  }

  stop(grace: number): Promise<void> {
    return this.haproxy.stop(grace);
  }

  /** Keeps the files in step with what was changed at run time, for the day HAProxy has to be started again. */
  persist(): Promise<void> {
    return this.alone(async () => {
      if (this.lastGood === undefined) return;
      await this.writeMaps(this.lastGood);
      await writeWhole(this.path("haproxy.cfg"), toConfig(this.lastGood));
    });
  }

  private async answered({ backend, server, options }: Newcomer): Promise<void> {
    await this.applying;
    if (!this.serves({ backend, server })) return;
    // That something listens is not all that HAProxy's check asks of HTTP/2.
    if (!options.h2c) await this.runtime.healthy(backend, server);
    if (!this.serves({ backend, server })) return;
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

  private path(name: string): string {
    return `${this.options.render.dir}/${name}`;
  }

  private alone<T>(action: () => Promise<T>): Promise<T> {
    const result = this.last.then(action);
    this.last = result.catch(() => undefined);
    return result;
  }

  private async start(routing: Routing): Promise<Applied> {
    const desired = this.render(routing);
    const { dir, runDir } = this.options.render;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    for (const [status, message] of Object.entries(errorPages))
      await writeWhole(this.path(errorPageName(status)), errorPage(Number(status), message));
    await this.writeAll(routing, desired, new Set());
    await writeWhole(countersFile(dir), "");
    await this.haproxy.start().catch((error: unknown) => {
      throw servicesNamed(routing, error) ?? error;
    });
    this.native = await this.runtime.makesBackends();
    this.lastGood = desired;
    this.https = this.options.https() !== undefined;
    this.actual = loaded(desired);
    this.greeter.greet(newcomers(desired, () => true));
    return { how: "start", what: `${routing.backends.length} services` };
  }

  private async change(actual: Actual, routing: Routing): Promise<Applied> {
    const places = this.native ? new Map<string, string>() : assignPlaces(routing, actual, this.places);
    let desired = this.render(routing, places);
    let steps = plan(actual, desired);
    const reasons = [...this.reasons, ...(steps.kind === "reload" ? steps.reasons : [])];
    if (reasons.length > 0) {
      if (this.reloadable()) return this.reload(routing, reasons);
      desired = postponed(actual, desired, this.lastGood ?? desired);
      steps = plan(actual, desired);
    }
    if (steps.kind === "reload") throw new Error(`a reload cannot be put off (${some(steps.reasons)})`);
    this.places = places;
    if (steps.kind === "nothing") return undefined;
    const services = servicesOf(steps.operations, this.lastGood, desired);
    const arrivals = steps.operations.filter(isArrival);
    const touched = new Set(arrivals.map(({ backend }) => backend));
    const arriving = (this.arriving = new Set(arrivals.map(serverOf)));
    this.greeter.greet(newcomers(desired, (b, s) => touched.has(b) && arriving.has(`${b}/${s}`)));
    let complaints = await this.operate(actual, steps.operations);
    if (complaints.length > 0) {
      // Somebody else has changed the worker, or a server was gone already: look, and do what is left to do.
      this.options.log(`HAProxy refused an operation (${some(complaints)}). Comparing.`);
      const found = await this.runtime.actual(actual);
      const rest = plan(found, desired);
      complaints = rest.kind === "operations" ? await this.operate(found, rest.operations) : [];
    }
    if (complaints.length > 0)
      return this.reload(routing, [`HAProxy refused a change while running (${some(complaints)})`]);
    this.lastGood = desired;
    this.forget(steps.operations);
    return { how: "operations", what: describe(steps.operations, services) };
  }

  private async operate(actual: Actual, operations: readonly Operation[]): Promise<string[]> {
    const complaints = await this.runtime.apply(operations);
    if (complaints.length > 0) return complaints;
    for (const { kind } of operations) this.options.metrics.operation(kind);
    this.actual = applied(actual, operations);
    return [];
  }

  private render(routing: Routing, places?: Places): Rendered {
    const https = this.options.https();
    const options = { ...this.options.render, native: this.native };
    return render(routing, { ...options, ...(https === undefined ? {} : { https }) }, places);
  }

  /** If not, it is said later when it is. */
  private reloadable(): boolean {
    const left = this.reloadedAt + reloadInterval - performance.now();
    if (left <= 0) return true;
    this.waiting ??= setTimeout(() => {
      this.waiting = undefined;
      this.options.onReloadable();
    }, left);
    return false;
  }

  /** Every service gets a backend of its own name again, and the spare ones are free for the next. */
  private async reload(routing: Routing, reasons: readonly string[]): Promise<Applied> {
    const desired = this.render(routing);
    const states = await this.states().catch(() => []);
    const up = new Set(
      states.filter((state) => state.up).map(({ backend, server }) => `${backend}/${server}`),
    );
    try {
      await this.writeAll(routing, desired, up);
      this.reloadedAt = performance.now();
      await this.keepCounters();
      const failure = await this.haproxy.reload();
      if (failure !== undefined) throw new Error(`HAProxy did not take the new configuration: ${failure}`);
    } catch (error) {
      if (this.lastGood !== undefined) await this.writeFiles(this.lastGood);
      throw servicesNamed(routing, error) ?? error;
    }
    this.lastGood = desired;
    this.https = this.options.https() !== undefined;
    this.reasons = [];
    this.places = new Map();
    for (const reason of new Set(reasons.map(reasonKind))) this.options.metrics.reload(reason);
    // What the new worker has may differ from the file; see, and put it right at once.
    this.actual = await this.runtime.actual(loaded(desired));
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
    return { how: "reload", what: some(reasons) };
  }

  /** As late as can be; a reload that is needed is not given up for them. */
  private async keepCounters(): Promise<void> {
    const dump = await this.runtime.counters().catch(() => "");
    const kept = this.lastGood === undefined ? dump : atHome(dump, this.lastGood, this.places);
    await writeWhole(countersFile(this.options.render.dir), kept);
  }

  private async writeAll(routing: Routing, desired: Rendered, up: ReadonlySet<string>): Promise<void> {
    await writeWhole(this.path("server.state"), serverStateFile(desired.backends, up));
    for (const name of mapNames)
      if ((await readIfThere(this.path(name))) === undefined) await writeWhole(this.path(name), "");
    const candidate = this.path("haproxy.candidate.cfg");
    const check = async (some: Routing): Promise<string | undefined> => {
      await writeWhole(candidate, toConfig(some === routing ? desired : this.render(some)));
      return this.haproxy.validate(candidate);
    };
    const failure = await check(routing);
    if (failure !== undefined) {
      const refused = await checkServices(routing, check);
      if (refused.size > 0) throw new ServicesRefused(refused);
      throw new Error(`HAProxy would not load the new configuration: ${failure}`);
    }
    await this.writeMaps(desired);
    await rename(this.path("haproxy.candidate.cfg"), this.path("haproxy.cfg"));
  }

  private async writeFiles(rendered: Rendered): Promise<void> {
    await this.writeMaps(rendered);
    await writeWhole(this.path("haproxy.cfg"), toConfig(rendered));
  }

  private async writeMaps(rendered: Rendered): Promise<void> {
    for (const name of mapNames) await writeWhole(this.path(name), toMapFile(rendered.maps[name]));
  }

  private async reapOnce(): Promise<number> {
    if (this.actual === undefined) return 0;
    const wanted = new Set(this.lastGood?.backends.map(({ name }) => name));
    const isWanted = (backend: string) => !this.native || wanted.has(backend);
    const { actual, left } = await withoutLeft(this.actual, this.runtime, isWanted);
    this.actual = actual;
    return left;
  }
}
