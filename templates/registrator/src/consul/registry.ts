import { messageOf } from "../../../../lib/errors";
import { RefusedError } from "../../../../lib/http";
import { Coalescer } from "../coalescer";
import type { Consul } from "./agent";
import type { Notice } from "../../../../routing/notices";
import { wantsRouting } from "../../../../routing/service-options";
import { noticeServices } from "../service/unregistered";
import { desiredOf, fingerprint, placeOf, type Conflict } from "./desired";
import { isOurs, plan } from "./plan";
import { hostPort } from "../../../../lib/tcp";
import type { ActualService, Health, Service, ServiceOptions } from "../types";

/** The part of the agent's client that the registry uses. */
export type Agent = Pick<
  Consul,
  "token" | "isOnlyNode" | "services" | "maintenance" | "register" | "deregister" | "updateCheck"
>;

interface Written {
  readonly fingerprint: string;
  readonly health: Health | undefined;
  readonly name: string;
}

export interface Wanted {
  readonly services: readonly Service[];
  /** Not registered at present, because their containers are about to end, paused or new; nobody else may be at their addresses. */
  readonly withheld: readonly Service[];
  /** What the load balancers are told about containers that are not registered. */
  readonly notices: readonly Notice[];
}

/** An internal error may pass soon; a refusal lasts until something changes. */
const retryMs = { failed: 5_000, refused: 60_000 };

/** Keeps the services of Consul's agent in line with the wanted ones, and writes only differences. */
export class Registry {
  private wanted: Wanted = { services: [], withheld: [], notices: [] };
  private services: ReadonlyMap<string, Service> = new Map();
  private foreign: ReadonlySet<string> = new Set();
  /** Where the agent's services are, by ID. */
  private readonly places = new Map<string, string>();
  private readonly written = new Map<string, Written>();
  private readonly lastWrite = new Map<string, number>();
  /** Fingerprints of services that Consul accepted only without their check. */
  private readonly uncheckable = new Set<string>();
  private readonly refused = new Map<string, { fingerprint: string; untilMs: number }>();
  /** The token that we registered each service with, by ID: the agent uses it for as long as the registration lasts. */
  private readonly registeredWith = new Map<string, string | undefined>();
  /** Why services that are deregistered at present were in maintenance mode, by ID. */
  private readonly maintenance = new Map<string, string>();
  private reportedConflicts = new Set<string>();
  /** Nothing is written until the agent's services are known: the write might be redundant or wrong. */
  private state: "unknown" | "compared" | "away" = "unknown";
  private readonly writes = new Coalescer((id, reason) => this.write(id, reason), 8);

  constructor(
    private readonly consul: Agent,
    private readonly label: string,
    private readonly node: Pick<ServiceOptions, "hostname" | "address">,
    private readonly log: (line: string) => void,
    /** Called when Consul does not answer: the caller schedules a comparison, which catches up. */
    private readonly onFailure: () => void,
  ) {}

  /** Sets the wanted services and immediately writes what changed since the last call. */
  want(wanted: Wanted, reason: string): void {
    this.wanted = wanted;
    this.rebuild(reason);
  }

  /** Whether a service is registered, or is about to be. */
  provides(id: string): boolean {
    return this.services.has(id);
  }

  /** Whether every load balancer that reads this Consul runs on this machine; undefined if Consul does not answer. */
  async isOnlyNode(): Promise<boolean | undefined> {
    try {
      return await this.consul.isOnlyNode();
    } catch (error) {
      // A token may lack the right to see the cluster.
      return error instanceof RefusedError ? false : undefined;
    }
  }

  /**
   * Compares the wanted services with the agent's and writes the differences. Keeps the services of the containers in
   * `unknown`, whose inspection failed. Resolves to whether Consul answered.
   */
  async compare(unknown: ReadonlySet<string>): Promise<boolean> {
    const askedAt = performance.now();
    let actual;
    let token;
    try {
      token = await this.consul.token();
      actual = await this.consul.services();
    } catch (error) {
      this.away(error);
      return false;
    }
    this.back();
    this.foreign = new Set(
      [...actual.values()]
        .filter((each) => !isOurs(each, this.node.hostname))
        .map((each) => each.registration.ID),
    );
    this.locate(actual, askedAt);
    this.rebuild("its ID or its port became available");
    await this.carryOut(actual, askedAt, unknown, token);
    for (const [id, at] of this.lastWrite) {
      if (at < askedAt && !this.services.has(id)) this.lastWrite.delete(id);
    }
    return this.state === "compared";
  }

  private locate(actual: ReadonlyMap<string, ActualService>, askedAt: number): void {
    for (const id of new Set([...this.places.keys(), ...actual.keys()])) {
      // A write after the request is newer than the agent's answer.
      if ((this.lastWrite.get(id) ?? -1) >= askedAt) continue;
      const found = actual.get(id);
      if (found) this.places.set(id, placeOf(found.registration));
      else this.leavePlace(id);
    }
  }

  /** A service that is withheld comes back to its place before others. */
  private leavePlace(id: string): void {
    const isWithheld = this.wanted.withheld.some(({ registration }) => registration.ID === id);
    if (!isWithheld) this.places.delete(id);
  }

  private async carryOut(
    actual: ReadonlyMap<string, ActualService>,
    askedAt: number,
    unknown: ReadonlySet<string>,
    token: string | undefined,
  ): Promise<void> {
    const todo = plan(this.services, actual, this.node.hostname);
    const reasons = new Map<string, string>();
    // A write after the request is newer than the agent's answer.
    const set = (id: string, written: Written | undefined, reason?: string) => {
      if ((this.lastWrite.get(id) ?? -1) >= askedAt) return;
      if (written) this.written.set(id, written);
      else this.written.delete(id);
      if (reason) reasons.set(id, reason);
    };
    for (const [id, service] of this.services) {
      if (actual.has(id)) set(id, writtenAs(service));
    }
    for (const { service, reason } of todo.register) {
      const { ID: id } = service.registration;
      set(id, undefined, this.isRefused(id, fingerprint(service)) ? undefined : reason);
    }
    for (const { service, from } of todo.update) {
      const written = { ...writtenAs(service), health: undefined };
      set(service.registration.ID, written, `Consul reported ${from}`);
    }
    for (const [id, service] of this.services) {
      const renews = token !== undefined && actual.has(id) && this.registeredWith.get(id) !== token;
      if (renews && !this.isRefused(id, fingerprint(service))) set(id, undefined, "its token is new");
    }
    for (const { id, name, container } of todo.remove) {
      if (unknown.has(container) || this.isRefused(id, "")) continue;
      set(id, { fingerprint: "", health: undefined, name }, "no container on this node provides it");
    }
    await Promise.all([...reasons].map(([id, reason]) => this.writes.touch(id, reason)));
  }

  private rebuild(reason: string): void {
    const before = this.services;
    const { wanted } = this;
    const { services, conflicts } = desiredOf(
      wanted.services.map((service) => this.effective(service)),
      this.foreign,
      this.places,
      wanted.withheld,
    );
    const told = noticeServices([...wanted.notices, ...conflicts.flatMap(noticesOf)], this.node);
    this.services = new Map([...services, ...told.map((each) => [each.registration.ID, each] as const)]);
    const sentences = conflicts.map(sentenceOf);
    for (const sentence of sentences) if (!this.reportedConflicts.has(sentence)) this.log(sentence);
    this.reportedConflicts = new Set(sentences);
    if (this.state !== "compared") return;
    for (const id of new Set([...before.keys(), ...services.keys()])) {
      if (!isSame(before.get(id), services.get(id))) void this.writes.touch(id, reason);
    }
  }

  private effective(service: Service): Service {
    if (this.uncheckable.size === 0 || !this.uncheckable.has(fingerprint(service))) return service;
    const { ID, Name, Address, Port, Tags, Meta } = service.registration;
    return {
      container: service.container,
      claim: service.claim,
      registration: { ID, Name, Address, Port, Tags, Meta },
    };
  }

  private async write(id: string, reason: string): Promise<void> {
    if (this.state !== "compared") return;
    const service = this.services.get(id);
    const written = this.written.get(id);
    try {
      if (service) await this.put(service, written, reason);
      else if (written) await this.remove(id, written.name, reason);
    } catch (error) {
      this.written.delete(id);
      if (error instanceof RefusedError) this.refuse(id, service, error);
      else this.away(error);
    } finally {
      this.lastWrite.set(id, performance.now());
    }
  }

  private async put(service: Service, written: Written | undefined, reason: string): Promise<void> {
    const { ID: id, Name: name, Address: address, Port: port } = service.registration;
    const print = fingerprint(service);
    const state = service.health ? `, ${service.health}` : "";
    if (written?.fingerprint === print) {
      if (!service.health || written.health === service.health) return;
      await this.mark(service, service.health);
      this.log(`marked ${name} (${id}) ${service.health}: ${reason}`);
    } else {
      const kept = await this.register(service, service.health);
      const mode = kept ? ", in maintenance mode as before" : "";
      this.log(`registered ${name} (${id}) at ${hostPort(address, port)}${state}${mode}: ${reason}`);
      this.refused.delete(id);
      this.places.set(id, placeOf(service.registration));
    }
    this.written.set(id, writtenAs(service));
  }

  private async mark(service: Service, health: Health): Promise<void> {
    const output = `Docker's HEALTHCHECK of container ${service.container}: ${health}`;
    try {
      await this.consul.updateCheck(service.registration.ID, health, output);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      // The agent lost the check, perhaps along with everything else.
      await this.register(service, health);
    }
  }

  /** Registers a service. Resolves to whether it stays in maintenance mode, which Consul would end otherwise. */
  private async register(service: Service, health: Health | undefined): Promise<boolean> {
    const { ID: id } = service.registration;
    const why = await this.maintenanceOf(id);
    this.registeredWith.set(id, await this.consul.token());
    await this.consul.register(service.registration, health, why);
    this.maintenance.delete(id);
    return why !== undefined;
  }

  /** Why the service is, or was when it was deregistered, in maintenance mode. */
  private async maintenanceOf(id: string): Promise<string | undefined> {
    return (await this.consul.maintenance()).get(id) ?? this.maintenance.get(id);
  }

  private async remove(id: string, name: string, reason: string): Promise<void> {
    const why = await this.maintenanceOf(id);
    if (why !== undefined) this.maintenance.set(id, why);
    const token = await this.consul.token();
    // The agent would deregister it with its old token, which may have no rights any more.
    if (token !== undefined && this.registeredWith.get(id) !== token) {
      const bare = { ID: id, Name: name, Address: "", Port: 0, Tags: [], Meta: {} };
      await this.consul.register(bare, undefined, "its container has ended");
    }
    await this.consul.deregister(id);
    this.registeredWith.delete(id);
    this.written.delete(id);
    this.leavePlace(id);
    this.log(`deregistered ${name} (${id}): ${reason}`);
  }

  /** Handles a refusal by Consul, which concerns only this service. */
  private refuse(id: string, service: Service | undefined, error: RefusedError): void {
    const print = service ? fingerprint(service) : "";
    const check = service?.registration.Check;
    const what = service
      ? `container ${service.container}: Consul refused ${service.registration.Name} (${id})`
      : `Consul refused to deregister ${id}`;
    // Agents with scripts disabled answer status 500.
    if (check && (error.status === 400 || check.Args)) {
      this.log(`${what}: "${error.message}"; registering it without its check`);
      this.uncheckable.add(print);
      this.rebuild("without the check that Consul refused");
      return;
    }
    if (this.refused.get(id)?.fingerprint !== print) this.log(`${what}: "${error.message}"; retrying`);
    // A token may be about to get its rights.
    const delayMs = error.status >= 500 || error.status === 403 ? retryMs.failed : retryMs.refused;
    this.refused.set(id, { fingerprint: print, untilMs: performance.now() + delayMs });
  }

  private isRefused(id: string, print: string): boolean {
    const refusal = this.refused.get(id);
    return refusal?.fingerprint === print && performance.now() < refusal.untilMs;
  }

  private away(error: unknown): void {
    if (this.state !== "away") {
      const why = messageOf(error);
      this.log(`Consul at ${this.label} does not answer (${why}); changes will be registered when it does`);
    }
    this.state = "away";
    this.onFailure();
  }

  private back(): void {
    if (this.state === "away") {
      this.log(`Consul at ${this.label} answers again`);
      // It may be a different agent, with other rules and without our services.
      this.uncheckable.clear();
      this.refused.clear();
    }
    this.state = "compared";
  }
}

const sentenceOf = ({ service: { container, registration }, why }: Conflict): string =>
  `container ${container}: not registered as ${registration.Name}: ${why}`;

const noticesOf = ({ service: { container, registration }, why }: Conflict): readonly Notice[] =>
  wantsRouting(registration.Tags) ? [{ container, service: registration.Name, why }] : [];

const writtenAs = (service: Service): Written => ({
  fingerprint: fingerprint(service),
  health: service.health,
  name: service.registration.Name,
});

function isSame(a: Service | undefined, b: Service | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && a.health === b.health && fingerprint(a) === fingerprint(b);
}
