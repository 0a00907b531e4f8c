import { messageOf } from "../../../lib/errors";
import type { Notice } from "../../../routing/notices";
import { wantsRouting } from "../../../routing/service-options";
import { Coalescer } from "./coalescer";
import type { Registry } from "./consul/registry";
import type { ContainerEvent, Docker, Listed } from "./docker/client";
import { follow } from "./docker/follow";
import { endsContainer, signalName } from "./docker/signals";
import { survivalOf, usualStopMs, type StopRequest } from "./docker/survival";
import { publishedBy } from "./service/address";
import { healthOf } from "./service/checks";
import { withHostPorts, withoutRival, type HostPorts } from "./service/host-ports";
import { firstOf } from "./service/rules";
import { nameOf, servicesOf } from "./service/services";
import { networkOwnersOf, problemWithNetwork } from "./service/shared-network";
import type { Inspect, Service, ServiceOptions } from "./types";

/** The part of the Docker client that the registrar uses. */
export type Engine = Pick<Docker, "connect" | "events" | "inspect" | "list">;

interface Known {
  readonly name: string;
  /** A paused container keeps its ports, and nothing else. */
  readonly isPaused: boolean;
  readonly services: readonly Service[];
  /** Those that are not to be registered yet. */
  readonly withheld: readonly Service[];
  /** What asks for load balancing and gets none. */
  readonly notices: readonly Notice[];
  /** IDs of the containers whose network it shares. Their life and ports are its own. */
  readonly owners: readonly string[];
  /** Undefined if it is not on the host's network. */
  readonly host: HostPorts | undefined;
  readonly published: ReturnType<typeof publishedBy>;
  readonly stopSignal: string;
  readonly usualStopMs: number;
  /** Its entry in the list of containers at the last inspection; undefined until it has appeared in a list. */
  signature: string | undefined;
}

export interface RegistrarOptions extends Omit<ServiceOptions, "isOnlyNode" | "publisherOf"> {
  /** How often to compare Docker and Consul; 0: only on connection to Docker. */
  readonly resyncSeconds: number;
  /** Register any container again that still runs this long after its stop signal. */
  readonly killGraceSeconds?: number;
}

interface Leaving extends StopRequest {
  readonly sinceMs: number;
}

/** How often to look at a container that still runs longer after its stop signal than usual. */
const survivalReviewMs = 5_000;
/** Longer timeouts than that are looked at meanwhile; Node's timers end at 24 days. */
const maxReviewMs = 86_400_000;
const syncDelayMs = 250;
/** What one container may add to the log at a time, and to what load balancers are told about the node. */
const mostProblems = 50;
const mostNotices = 10;
/** A container that has got its ports and has not started by then has failed unnoticed. */
const mostStartMs = 30_000;

/** Follows the containers of a Docker Engine and tells the registry which services they provide. */
export class Registrar {
  private readonly containers = new Map<string, Known>();
  /** Containers that received a stop signal and have not shown since that they go on. */
  private readonly leaving = new Map<string, Leaving>();
  /** Containers that Docker is starting: it has bound their ports, and does not list them yet. */
  private readonly starting = new Map<string, number>();
  private readonly lastEvent = new Map<string, number>();
  /** Problems already logged, by container. */
  private readonly problems = new Map<string, readonly string[]>();
  /** Containers whose inspection failed: their registrations stay. */
  private readonly uninspected = new Set<string>();
  private readonly inspections = new Coalescer(
    (id, reason, isOutdated) => this.inspect(id, reason, isOutdated),
    8,
  );
  private readonly syncs = new Coalescer(() => this.compare(), 1);
  private isListening = false;
  /** Assumed until Consul answers: before that, nothing is registered. */
  private isOnlyNode = true;
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
        // Lists do not show everything that may have changed unnoticed.
        this.inspectAgain();
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

  private handle(event: ContainerEvent): void {
    const { id, action, attributes } = event;
    if (action === "connect" || action === "disconnect") {
      // Also a part of every start and end, which have events of their own.
      if (this.containers.has(id)) void this.inspections.touch(id, "its container's networks changed");
      else if (action === "connect") this.starting.set(id, performance.now());
      else this.starting.delete(id);
      return;
    }
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
        this.killed(event, name);
        break;
      case "pause":
        this.paused(id, `container ${name} was paused`);
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

  private killed({ id, attributes, atMs, ageMs }: ContainerEvent, name: string): void {
    const signal = attributes.signal ?? "";
    const known = this.containers.get(id);
    if (known && !endsContainer(signal, known.stopSignal)) return;
    const earlier = known ? [] : (this.leaving.get(id)?.signals ?? []);
    const leaving = { signals: [...earlier, signal], atMs, sinceMs: performance.now() - ageMs };
    this.leaving.set(id, leaving);
    this.publish(`container ${name} was sent ${signalName(signal)}`);
    // The inspection of an unknown container reviews it as well.
    if (known) this.reviewLater(id, leaving, known.usualStopMs - ageMs);
  }

  /** Inspects a leaving container after a while, again and again until it has ended or shown that it goes on. */
  private reviewLater(id: string, leaving: Leaving, delayMs: number): void {
    const isOver = () => this.leaving.get(id) !== leaving;
    setTimeout(
      () => {
        if (isOver()) return;
        void this.inspections.touch(id, "its stop signal was a while ago").then(() => {
          if (!isOver()) this.reviewLater(id, leaving, survivalReviewMs);
        });
      },
      Math.min(delayMs, maxReviewMs),
    ).unref();
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

  private paused(id: string, reason: string): void {
    this.inspections.outdate(id, reason);
    const known = this.containers.get(id);
    if (!known) return;
    this.containers.set(id, { ...known, isPaused: true, notices: [] });
    this.publish(reason);
  }

  private forget(id: string, reason: string): void {
    this.inspections.outdate(id, reason);
    this.ended(id, reason);
  }

  /** The containers that share its network have lost it. */
  private ended(id: string, reason: string): void {
    this.starting.delete(id);
    const gone = this.containers.get(id);
    this.containers.delete(id);
    const members = this.membersOf(id);
    for (const [member, known] of members) this.containers.set(member, { ...known, services: [] });
    const rivals = gone?.host ? this.leaveTo(gone.host) : [];
    if (gone || members.length > 0) this.publish(reason);
    for (const other of [...members.map(([member]) => member), ...rivals])
      void this.inspections.touch(other, reason);
  }

  /**
   * Other containers on the host's network must not get the ports of one that has ended before somebody really has them.
   * One that is registered has had its port all the time.
   */
  private leaveTo({ listening }: HostPorts): string[] {
    const isLeft = ({ registration }: Service) =>
      listening.has(registration.Port) && !this.registry.provides(registration.ID);
    const rivals: string[] = [];
    for (const [id, known] of this.containers) {
      const left = known.services.concat(known.withheld).filter(isLeft);
      if (!known.host || left.length === 0) continue;
      const host = withoutRival(
        known.host,
        left.map(({ registration }) => registration.Port),
      );
      this.containers.set(id, {
        ...known,
        host,
        services: known.services.filter((service) => !left.includes(service)),
      });
      rivals.push(id);
    }
    return rivals;
  }

  private membersOf(owner: string): [string, Known][] {
    return [...this.containers].filter(([, { owners }]) => owners.includes(owner));
  }

  private publish(reason: string): void {
    const isLeaving = (id: string) => this.leaving.has(id);
    const all = [...this.containers].map(([id, known]) => ({
      known,
      isStaying: !known.isPaused && !isLeaving(id) && !known.owners.some(isLeaving),
    }));
    const staying = all.filter(({ isStaying }) => isStaying).flatMap(({ known }) => known.services);
    const withheld = all.flatMap(({ known, isStaying }) =>
      isStaying ? known.withheld : [...known.services, ...known.withheld],
    );
    const notices = all.flatMap(({ known }) => known.notices);
    this.registry.want({ services: staying, withheld, notices }, reason);
  }

  private async inspect(id: string, reason: string, isOutdated: () => boolean): Promise<void> {
    try {
      const container = await this.docker.inspect(id);
      const owners = container ? await networkOwnersOf(container, (owner) => this.docker.inspect(owner)) : [];
      if (isOutdated()) return;
      this.uninspected.delete(id);
      this.learn(id, container, owners, reason);
    } catch (error) {
      this.log(`could not inspect container ${id.slice(0, 12)} (${messageOf(error)}); retrying`);
      this.uninspected.add(id);
      this.syncSoon();
    }
  }

  private learn(
    id: string,
    container: Inspect | undefined,
    owners: readonly Inspect[],
    reason: string,
  ): void {
    this.starting.delete(id);
    const state = container?.State;
    if (!container || !state?.Running || state.Restarting) {
      this.problems.delete(id);
      this.ended(id, reason);
      return;
    }
    const options = {
      ...this.options,
      isOnlyNode: this.isOnlyNode,
      listenersOn: (port: number) => this.listenersOn(port),
      publisherOf: (port: number) => this.publisherOf(port),
    };
    const obstacle = problemWithNetwork(container, owners);
    const { services, withheld, problems, notices, host } = withHostPorts(
      servicesOf(container, options, owners.at(-1), obstacle),
      container,
      options,
      this.containers.get(id)?.host,
      this.starting.size > 0,
    );
    const usualMs = usualStopMs(container, this.options.killGraceSeconds);
    const survival = this.survival(id, container, services, usualMs);
    this.report(id, nameOf(container), [...problems, ...survival.problems]);
    this.containers.set(id, {
      name: nameOf(container),
      isPaused: state.Paused ?? false,
      services,
      withheld,
      owners: owners.map((owner) => owner.Id),
      host,
      published: publishedBy(container),
      notices: state.Paused ? [] : [...notices, ...survival.notices].slice(0, mostNotices),
      stopSignal: container.Config?.StopSignal || "SIGTERM",
      usualStopMs: usualMs,
      signature: undefined,
    });
    this.publish(survival.reason ?? reason);
    if (isUnsettled({ host })) this.syncSoon();
    for (const [member] of this.membersOf(id)) void this.inspections.touch(member, reason);
  }

  /** Who listens on a port of the host, except Docker, which does so for the containers that publish it. */
  private listenersOn(port: number): readonly string[] | undefined {
    const published = [...this.containers.values()].flatMap((known) => known.published);
    const isDockers = (address: string) =>
      published.some((each) => each.port === port && each.address === address);
    return this.options.listenersOn?.(port)?.filter((address) => !isDockers(address));
  }

  private publisherOf(port: number): string | undefined {
    const isIts = ({ published }: Known) => published.some((each) => each.port === port);
    return [...this.containers.values()].find(isIts)?.name;
  }

  /** Whether a container that was told to stop goes on: why, and what is pending otherwise. */
  private survival(
    id: string,
    container: Inspect,
    services: readonly Service[],
    usualMs: number,
  ): { problems: readonly string[]; notices: readonly Notice[]; reason?: string } {
    const leaving = this.leaving.get(id);
    if (!leaving) return { problems: [], notices: [] };
    const waitedMs = performance.now() - leaving.sinceMs;
    const survival = survivalOf(container, services, leaving, waitedMs, this.options.killGraceSeconds);
    if (!survival.goesOn) {
      if (!this.containers.has(id)) this.reviewLater(id, leaving, usualMs - waitedMs);
      const { pending } = survival;
      if (pending === undefined) return { problems: [], notices: [] };
      const notices = services
        .filter(({ registration }) => wantsRouting(registration.Tags))
        .map(({ container: name, registration }) => ({
          container: name,
          service: registration.Name,
          why: pending,
        }));
      return { problems: [`container ${nameOf(container)}: ${pending}`], notices };
    }
    this.leaving.delete(id);
    const { reason } = survival;
    return {
      problems: [],
      notices: [],
      ...(reason !== undefined && { reason: `container ${nameOf(container)} ${reason}` }),
    };
  }

  /** Logs the problems of a container that are new. */
  private report(id: string, name: string, found: readonly string[]): void {
    const known = this.problems.get(id) ?? [];
    const problems = firstOf(found, mostProblems, (others) => `container ${name}: ${others} other problems`);
    problems.filter((problem) => !known.includes(problem)).forEach(this.log);
    this.problems.set(id, problems);
  }

  /** Brings the known containers in line with Docker's list, and Consul in line with them. */
  private async compare(): Promise<void> {
    if (!this.isListening) return;
    await this.countNodes();
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
    for (const id of this.leaving.keys()) {
      if (!running.has(id) && (this.lastEvent.get(id) ?? 0) <= askedAt) this.leaving.delete(id);
    }
    for (const [id, since] of this.starting) if (askedAt - since > mostStartMs) this.starting.delete(id);
    for (const id of this.lastEvent.keys()) {
      if (!running.has(id) && !this.containers.has(id)) this.lastEvent.delete(id);
    }
    for (const collection of [this.problems, this.uninspected]) {
      for (const id of collection.keys()) if (!running.has(id)) collection.delete(id);
    }
    if ([...this.containers.values()].some(isUnsettled)) this.syncSoon();
    const unknown = listed.filter(({ id }) => this.uninspected.has(id)).map(({ name }) => name);
    if (!(await this.registry.compare(new Set(unknown)))) this.syncSoon();
  }

  /** Notices when Consul's cluster gets a second node or has a single one again: other addresses can be registered then. */
  private async countNodes(): Promise<void> {
    const isOnlyNode = (await this.registry.isOnlyNode()) ?? this.isOnlyNode;
    if (isOnlyNode === this.isOnlyNode) return;
    this.isOnlyNode = isOnlyNode;
    this.inspectAgain();
  }

  /** Makes the next comparison inspect every container. */
  private inspectAgain(): void {
    for (const known of this.containers.values()) known.signature = "";
  }

  private async review({ id, name, signature }: Listed): Promise<void> {
    const known = this.containers.get(id);
    // An event has just caused an inspection, which is at least as recent as this list.
    if (known && known.signature === undefined) known.signature = signature;
    if (known?.signature === signature && !this.isListeningElsewhere(known)) return;
    const reason = known ? `container ${name} changed` : `container ${name} was found running`;
    await this.inspections.touch(id, reason);
    const inspected = this.containers.get(id);
    if (inspected) inspected.signature = signature;
  }

  /** Whether a container on the host's network has to be looked at again. Docker's list does not show where it listens. */
  private isListeningElsewhere({ host }: Known): boolean {
    if (!host) return false;
    const ports = [...host.listening.keys()];
    const now = [ports.map((port) => this.listenersOn(port)), ports.map((port) => this.publisherOf(port))];
    return (
      (host.untilMs > 0 && Date.now() >= host.untilMs) ||
      JSON.stringify(now) !== JSON.stringify([[...host.listening.values()], host.publishers])
    );
  }
}

/** Whether to look again soon. */
const isUnsettled = ({ host }: Pick<Known, "host">): boolean => Date.now() < (host?.untilMs ?? 0);
