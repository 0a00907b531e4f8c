import { healthOf } from "./service/checks";
import { Coalescer } from "./coalescer";
import type { ContainerEvent, Docker, Listed } from "./docker/client";
import { messageOf } from "./http";
import type { Registry } from "./consul/registry";
import { networkOwnerOf, servicesOf } from "./service/services";
import { endsContainer, signalName } from "./docker/signals";
import type { Inspect, Service, ServiceOptions } from "./types";

/** What is asked of Docker here. */
export type Engine = Pick<Docker, "connect" | "events" | "inspect" | "list">;

interface Known {
  readonly services: readonly Service[];
  readonly stopSignal: string;
  /** How long it may take to end after a signal to stop. */
  readonly graceMs: number;
  /** What the list said when it was last inspected; undefined until it was seen in a list. */
  signature: string | undefined;
}

export interface RegistrarOptions extends ServiceOptions {
  readonly resyncSeconds: number;
  readonly killGraceSeconds?: number;
}

/** Swarm never leaves a task running that it told to stop, and says nowhere how long it gives it. */
const swarmGraceMs = 3_600_000;
const retryMs = { first: 100, most: 5_000 };

/** Follows the engine's containers and tells the registry which services they are. */
export class Registrar {
  private readonly containers = new Map<string, Known>();
  /** Containers that were told to stop, until when that is believed. */
  private readonly leaving = new Map<string, number>();
  private readonly lastEvent = new Map<string, number>();
  private readonly problems = new Map<string, string>();
  /** Containers that the engine could not say anything about: what is registered for them stays. */
  private readonly uninspected = new Set<string>();
  private readonly inspections = new Coalescer(
    (id, reason, outdated) => this.inspect(id, reason, outdated),
    8,
  );
  private readonly syncs = new Coalescer(() => this.compare(), 1);
  private isListening = false;
  private retry: NodeJS.Timeout | undefined;

  constructor(
    private readonly docker: Engine,
    private readonly registry: Registry,
    private readonly options: RegistrarOptions,
    private readonly log: (line: string) => void,
  ) {}

  /** Never returns but by `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { resyncSeconds } = this.options;
    const timer = resyncSeconds > 0 ? setInterval(() => void this.sync(), resyncSeconds * 1000) : undefined;
    let wait = retryMs.first;
    let said = false;
    const over = aborted(signal);
    const isOver = () => signal.aborted;
    while (!isOver()) {
      try {
        const engine = await this.docker.connect();
        const { closed } = await this.docker.events((event) => {
          this.handle(event);
        });
        this.log(`following the events of Docker ${engine}`);
        wait = retryMs.first;
        said = false;
        this.isListening = true;
        // What happened while nobody listened is not in the lists: look at everything anew.
        for (const known of this.containers.values()) known.signature = "";
        void this.sync();
        await Promise.race([closed, over]);
        if (!isOver()) this.log("Docker closed the stream of events; connecting again");
      } catch (error) {
        if (!said) {
          this.log(`Docker does not answer (${messageOf(error)}); nothing is deregistered until it does`);
        }
        said = true;
      }
      this.isListening = false;
      await Promise.race([pause(wait), over]);
      wait = Math.min(wait * 2, retryMs.most);
    }
    clearInterval(timer);
    clearTimeout(this.retry);
  }

  sync(): Promise<void> {
    return this.syncs.touch("", "");
  }

  /** After a failed write: soon, and not many at once. */
  syncSoon(): void {
    this.retry ??= setTimeout(() => {
      this.retry = undefined;
      void this.sync();
    }, 250);
  }

  handle({ id, action, attributes }: ContainerEvent): void {
    const name = attributes.name ?? id.slice(0, 12);
    this.lastEvent.set(id, performance.now());
    const [verb = "", state = ""] = action.split(/:\s*/);
    switch (verb) {
      case "start":
        this.leaving.delete(id);
        void this.inspections.touch(id, `container ${name} started`);
        break;
      case "unpause":
        void this.inspections.touch(id, `container ${name} goes on`);
        break;
      case "rename":
        void this.inspections.touch(id, `the container is called ${name} now`);
        break;
      case "health_status":
        this.setHealth(id, name, state);
        break;
      case "kill":
        this.killed(id, name, attributes.signal ?? "");
        break;
      case "pause":
        this.forget(id, `container ${name} is paused`);
        break;
      case "stop":
      case "die":
      case "destroy":
        this.leaving.delete(id);
        this.forget(id, `container ${name} ended`);
        if (verb === "destroy") this.lastEvent.delete(id);
        break;
    }
  }

  private killed(id: string, name: string, signal: string): void {
    const known = this.containers.get(id);
    if (!endsContainer(signal, known?.stopSignal)) return;
    const grace = known?.graceMs ?? 15_000;
    const until = performance.now() + grace;
    this.leaving.set(id, until);
    this.publish(`container ${name} was sent ${signalName(signal)}`);
    setTimeout(() => {
      if (this.leaving.get(id) !== until) return;
      this.leaving.delete(id);
      const seconds = Math.round(grace / 1000);
      void this.inspections.touch(id, `container ${name} still runs ${seconds} s after it was told to stop`);
    }, grace).unref();
  }

  private setHealth(id: string, name: string, state: string): void {
    const known = this.containers.get(id);
    const health = healthOf(state, "warning");
    if (!known || !health || state === "starting") {
      void this.inspections.touch(id, `container ${name} is ${state}`);
      return;
    }
    const services = known.services.map((service) => (service.health ? { ...service, health } : service));
    this.containers.set(id, { ...known, services });
    // An inspection under way may have read the state before.
    this.inspections.outdate(id, `container ${name} is ${state}`);
    this.publish(`container ${name} is ${state}`);
  }

  private forget(id: string, reason: string): void {
    this.inspections.outdate(id, reason);
    if (this.containers.delete(id)) this.publish(reason);
  }

  private publish(reason: string): void {
    const here = [...this.containers].filter(([id]) => !this.leaving.has(id));
    this.registry.want(
      here.flatMap(([, known]) => known.services),
      reason,
    );
  }

  private async inspect(id: string, reason: string, outdated: () => boolean): Promise<void> {
    try {
      const container = await this.docker.inspect(id);
      const ownerId = container && networkOwnerOf(container);
      const owner = ownerId ? await this.docker.inspect(ownerId) : undefined;
      if (outdated()) return;
      this.uninspected.delete(id);
      this.learn(id, container, owner, reason);
    } catch (error) {
      this.log(`could not inspect container ${id.slice(0, 12)} (${messageOf(error)}); trying again`);
      this.uninspected.add(id);
      this.syncSoon();
    }
  }

  private learn(
    id: string,
    container: Inspect | undefined,
    owner: Inspect | undefined,
    reason: string,
  ): void {
    const state = container?.State;
    if (!container || !state?.Running || state.Restarting) {
      this.problems.delete(id);
      if (this.containers.delete(id)) this.publish(reason);
      return;
    }
    const { services, problems } = servicesOf(container, this.options, owner);
    const said = problems.join("\n");
    if (said && this.problems.get(id) !== said) problems.forEach(this.log);
    this.problems.set(id, said);
    this.containers.set(id, {
      services: state.Paused ? [] : services,
      stopSignal: container.Config?.StopSignal || "SIGTERM",
      graceMs: graceOf(container, this.options.killGraceSeconds),
      signature: undefined,
    });
    this.publish(reason);
  }

  private async compare(): Promise<void> {
    if (!this.isListening) return;
    const asked = performance.now();
    let listed: Listed[];
    try {
      listed = await this.docker.list();
    } catch (error) {
      this.log(`Docker did not list its containers (${messageOf(error)}); nothing is deregistered for that`);
      return;
    }
    await Promise.all(listed.map((each) => this.review(each)));
    const running = new Set(listed.map(({ id }) => id));
    for (const id of this.containers.keys()) {
      // Without an event since the list was asked for, the list is the newer news.
      if (running.has(id) || (this.lastEvent.get(id) ?? 0) > asked) continue;
      this.forget(id, "its container no longer runs");
    }
    for (const id of this.lastEvent.keys()) {
      if (!running.has(id) && !this.containers.has(id)) this.lastEvent.delete(id);
    }
    for (const gone of [this.problems, this.uninspected]) {
      for (const id of gone.keys()) if (!running.has(id)) gone.delete(id);
    }
    const unknown = listed.filter(({ id }) => this.uninspected.has(id)).map(({ name }) => name);
    if (!(await this.registry.compare(new Set(unknown)))) this.syncSoon();
  }

  private async review({ id, name, signature }: Listed): Promise<void> {
    const known = this.containers.get(id);
    // Just inspected because of an event: what the list says of it is no older.
    if (known && known.signature === undefined) known.signature = signature;
    if (known?.signature === signature) return;
    await this.inspections.touch(
      id,
      known ? `container ${name} changed` : `container ${name} was found running`,
    );
    const now = this.containers.get(id);
    if (now) now.signature = signature;
  }
}

function graceOf(container: Inspect, seconds: number | undefined): number {
  if (seconds !== undefined) return seconds * 1000;
  if (container.Config?.Labels?.["com.docker.swarm.task.id"]) return swarmGraceMs;
  return ((container.Config?.StopTimeout ?? 10) + 5) * 1000;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        "abort",
        () => {
          resolve();
        },
        { once: true },
      );
  });
