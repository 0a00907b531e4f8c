import { messageOf } from "../../../lib/errors";
import { Coalescer } from "./coalescer";
import type { Registry } from "./consul/registry";
import type { ContainerEvent, Docker, Listed } from "./docker/client";
import { follow } from "./docker/follow";
import { endsContainer, signalName } from "./docker/signals";
import { healthOf } from "./service/checks";
import { networkOwnerOf, servicesOf } from "./service/services";
import type { Inspect, Service, ServiceOptions } from "./types";

/** The part of the Docker client that the registrar uses. */
export type Engine = Pick<Docker, "connect" | "events" | "inspect" | "list">;

interface Known {
  readonly services: readonly Service[];
  readonly stopSignal: string;
  /** How long the container may keep running after its stop signal before it counts as a survivor. */
  readonly graceMs: number;
  /** Its entry in the list of containers at the last inspection; undefined until it has appeared in a list. */
  signature: string | undefined;
}

export interface RegistrarOptions extends ServiceOptions {
  /** How often to compare Docker and Consul; 0: only on connection to Docker. */
  readonly resyncSeconds: number;
  /** Overrides the grace after a stop signal for every container. */
  readonly killGraceSeconds?: number;
}

/** Swarm always ends a task that it told to stop, and does not publish the grace period it grants. */
const swarmGraceMs = 3_600_000;
/** For a container that is told to stop before it was inspected. */
const unknownGraceMs = 15_000;
const syncDelayMs = 250;

/** Follows the containers of a Docker Engine and tells the registry which services they provide. */
export class Registrar {
  private readonly containers = new Map<string, Known>();
  /** Containers that received a stop signal, with the time until which they count as leaving. */
  private readonly leaving = new Map<string, number>();
  private readonly lastEvent = new Map<string, number>();
  /** Problems already logged, by container. */
  private readonly problems = new Map<string, string>();
  /** Containers whose inspection failed: their registrations stay. */
  private readonly uninspected = new Set<string>();
  private readonly inspections = new Coalescer(
    (id, reason, isOutdated) => this.inspect(id, reason, isOutdated),
    8,
  );
  private readonly syncs = new Coalescer(() => this.compare(), 1);
  private isListening = false;
  private scheduledSync: NodeJS.Timeout | undefined;

  constructor(
    private readonly docker: Engine,
    private readonly registry: Registry,
    private readonly options: RegistrarOptions,
    private readonly log: (line: string) => void,
  ) {}

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { resyncSeconds } = this.options;
    const timer = resyncSeconds > 0 ? setInterval(() => void this.sync(), resyncSeconds * 1000) : undefined;
    const follower = {
      connected: () => {
        this.isListening = true;
        // Lists do not show everything that may have changed unnoticed: inspect every container again.
        for (const known of this.containers.values()) known.signature = "";
        void this.sync();
      },
      event: (event: ContainerEvent) => {
        this.handle(event);
      },
      disconnected: () => {
        this.isListening = false;
      },
    };
    await follow(this.docker, follower, this.log, signal);
    clearInterval(timer);
    clearTimeout(this.scheduledSync);
  }

  /** Schedules a comparison after a failed write; calls in quick succession share one. */
  syncSoon(): void {
    this.scheduledSync ??= setTimeout(() => {
      this.scheduledSync = undefined;
      void this.sync();
    }, syncDelayMs);
  }

  private sync(): Promise<void> {
    return this.syncs.touch("", "");
  }

  private handle({ id, action, attributes }: ContainerEvent): void {
    const name = attributes.name ?? id.slice(0, 12);
    this.lastEvent.set(id, performance.now());
    const [verb = "", state = ""] = action.split(/:\s*/);
    switch (verb) {
      case "start":
        this.leaving.delete(id);
        void this.inspections.touch(id, `container ${name} started`);
        break;
      case "unpause":
        void this.inspections.touch(id, `container ${name} was unpaused`);
        break;
      case "rename":
        void this.inspections.touch(id, `the container was renamed to ${name}`);
        break;
      case "health_status":
        this.setHealth(id, name, state);
        break;
      case "kill":
        this.killed(id, name, attributes.signal ?? "");
        break;
      case "pause":
        this.forget(id, `container ${name} was paused`);
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
    const graceMs = known?.graceMs ?? unknownGraceMs;
    const untilMs = performance.now() + graceMs;
    this.leaving.set(id, untilMs);
    this.publish(`container ${name} was sent ${signalName(signal)}`);
    setTimeout(() => {
      if (this.leaving.get(id) !== untilMs) return;
      this.leaving.delete(id);
      const seconds = Math.round(graceMs / 1000);
      void this.inspections.touch(id, `container ${name} still runs ${seconds} s after its stop signal`);
    }, graceMs).unref();
  }

  private setHealth(id: string, name: string, state: string): void {
    const reason = `container ${name} is ${state}`;
    const known = this.containers.get(id);
    const health = healthOf(state, "warning");
    if (!known || !health || state === "starting") {
      void this.inspections.touch(id, reason);
      return;
    }
    const services = known.services.map((service) => (service.health ? { ...service, health } : service));
    this.containers.set(id, { ...known, services });
    // An inspection under way may have read the previous state.
    this.inspections.outdate(id, reason);
    this.publish(reason);
  }

  private forget(id: string, reason: string): void {
    this.inspections.outdate(id, reason);
    if (this.containers.delete(id)) this.publish(reason);
  }

  private publish(reason: string): void {
    const staying = [...this.containers].filter(([id]) => !this.leaving.has(id));
    this.registry.want(
      staying.flatMap(([, known]) => known.services),
      reason,
    );
  }

  private async inspect(id: string, reason: string, isOutdated: () => boolean): Promise<void> {
    try {
      const container = await this.docker.inspect(id);
      const ownerId = container && networkOwnerOf(container);
      const owner = ownerId ? await this.docker.inspect(ownerId) : undefined;
      if (isOutdated()) return;
      this.uninspected.delete(id);
      this.learn(id, container, owner, reason);
    } catch (error) {
      this.log(`could not inspect container ${id.slice(0, 12)} (${messageOf(error)}); retrying`);
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
    const text = problems.join("\n");
    if (text && this.problems.get(id) !== text) problems.forEach(this.log);
    this.problems.set(id, text);
    this.containers.set(id, {
      services: state.Paused ? [] : services,
      stopSignal: container.Config?.StopSignal || "SIGTERM",
      graceMs: graceMsOf(container, this.options.killGraceSeconds),
      signature: undefined,
    });
    this.publish(reason);
  }

  /** Brings the known containers in line with Docker's list, and Consul in line with them. */
  private async compare(): Promise<void> {
    if (!this.isListening) return;
    const askedAt = performance.now();
    let listed: Listed[];
    try {
      listed = await this.docker.list();
    } catch (error) {
      this.log(`Docker did not list its containers (${messageOf(error)}); skipping this comparison`);
      return;
    }
    await Promise.all(listed.map((each) => this.review(each)));
    const running = new Set(listed.map(({ id }) => id));
    for (const id of this.containers.keys()) {
      // An event after the request is newer than the list.
      if (running.has(id) || (this.lastEvent.get(id) ?? 0) > askedAt) continue;
      this.forget(id, "its container no longer runs");
    }
    for (const id of this.lastEvent.keys()) {
      if (!running.has(id) && !this.containers.has(id)) this.lastEvent.delete(id);
    }
    for (const collection of [this.problems, this.uninspected]) {
      for (const id of collection.keys()) if (!running.has(id)) collection.delete(id);
    }
    const unknown = listed.filter(({ id }) => this.uninspected.has(id)).map(({ name }) => name);
    if (!(await this.registry.compare(new Set(unknown)))) this.syncSoon();
  }

  private async review({ id, name, signature }: Listed): Promise<void> {
    const known = this.containers.get(id);
    // An event has just caused an inspection, which is at least as recent as this list.
    if (known && known.signature === undefined) known.signature = signature;
    if (known?.signature === signature) return;
    const reason = known ? `container ${name} changed` : `container ${name} was found running`;
    await this.inspections.touch(id, reason);
    const inspected = this.containers.get(id);
    if (inspected) inspected.signature = signature;
  }
}

function graceMsOf(container: Inspect, killGraceSeconds: number | undefined): number {
  if (killGraceSeconds !== undefined) return killGraceSeconds * 1000;
  if (container.Config?.Labels?.["com.docker.swarm.task.id"]) return swarmGraceMs;
  return ((container.Config?.StopTimeout ?? 10) + 5) * 1000;
}
