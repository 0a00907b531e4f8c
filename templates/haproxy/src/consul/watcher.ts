/**
 * Keeps the catalog up to date with one blocking query per node and four more. Its cost grows with nodes and changes, not
 * with services; one query per service does not scale (consul-template #1065). Only checks that do not pass are queried:
 * the answer of health/state/any takes 450 bytes for every service, at every change of any check.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../../../lib/errors";
import type { Catalog, Instance, Problem } from "../../../../routing/types";
import { kv, show } from "../../../../routing/grammar";
import { nodeConnections, nodePath, Refusal, tokenAdvice, TooLarge, Unanswered, type Answer } from "./client";
import {
  decodeChecks,
  decodeKv,
  decodeNodeServices,
  decodeNodes,
  isQueryable,
  listsNothing,
  sameChecks,
  sameList,
  type Checks,
  type ConsulService,
} from "./decode";

/**
 * How long Consul may hold a query. A Consul that stops answering is noticed a few seconds after this, one whose machine
 * is gone, sooner. After we exit, Consul keeps waiting and counting the connection: a longer wait would let a few restarts
 * in a row use up its 200 connections.
 */
const waitSeconds = 60;
/** With more nodes than connections for them, queries for nodes take turns of this length. */
const turnSeconds = 5;
const minBackoffMs = 100;
const maxBackoffMs = 5_000;
/** Consul's opinion of a node's name hardly ever changes. */
const unusableNodeRetryMs = 60_000;
/** During a burst of changes, a query rests for this multiple of the time that it took to read its last answer. */
const restFactor = 3;
const maxRestMs = 1_000;
/** Lets the listeners of a change have the processor first. */
const minRestMs = 5;

const kvPath = `kv/${kv.prefix}?recurse`;
const checkPaths = { critical: "health/state/critical", warning: "health/state/warning" } as const;

export interface WatcherEvents {
  /** The catalog has changed. */
  readonly changed: () => void;
  /** Consul's index has risen, and the catalog has not changed. */
  readonly advanced?: () => void;
  /** Settles once no change is on its way to HAProxy. Until then, the next answer would have to wait anyway. */
  readonly done?: () => Promise<void>;
  /** Consul failed or went back in time, so losses in its next answers are suspect. */
  readonly suspect: (why: string) => void;
  /** Consul answers again. */
  readonly back?: () => void;
  /** Something that the operator should know; called once. */
  readonly noticed?: (what: string) => void;
}

/** What a token must have the right to see. */
type Rights = "services" | "keys";

/** What is special about a query. */
interface Special {
  /** Called when this query alone cannot be answered. Returns whether the catalog has changed. */
  readonly refused?: (why: string) => boolean;
  /** For an answer that may be empty because rights are lost: which. */
  readonly mayBeBlind?: (body: unknown) => Rights | false;
}

/** Which part of Consul's last change may still be on its way. */
export type Missing = "nothing" | "checks" | "services";

/** The part of the client that the watcher uses. */
export interface Source {
  query(path: string, index: number, waitSeconds: number, signal: AbortSignal): Promise<Answer>;
  close(): void;
}

interface WatchedNode {
  address: string;
  services?: readonly ConsulService[];
  instances?: readonly Instance[];
  /** Why Consul cannot be queried for it. */
  problem?: Problem;
  readonly stop: AbortController;
}

export class Watcher {
  private readonly stopped = new AbortController();
  private readonly nodes = new Map<string, WatchedNode>();
  private critical: Checks | undefined;
  private warning: Checks | undefined;
  private values: Readonly<Record<string, string>> | undefined;
  private nodesKnown = false;
  private readonly failing = new Set<string>();
  /** Whether Consul has stopped answering since all queries last worked. */
  private lost = false;
  /** Rises whenever Consul may have started over with lower indexes. */
  private epoch = 0;
  private readonly pending = new Set<AbortController>();
  private readonly indexes = new Map<string, number>();
  private filtered = false;
  /** The instance last built from each service. */
  private readonly built = new WeakMap<ConsulService, Instance>();
  /** When Consul last answered, in milliseconds since 1970; 0 before the first answer. */
  lastAnswer = 0;

  constructor(
    private readonly consul: Source,
    private readonly events: WatcherEvents,
  ) {}

  start(): void {
    const { signal } = this.stopped;
    void this.follow("catalog/nodes", signal, (body) => {
      const found = decodeNodes(body);
      // Consul's own servers are nodes. Before 1.11, an empty list is the only sign of a token that may see nothing.
      if (found.size === 0) throw new Error(`Consul shows no node, not even its own. ${tokenAdvice}`);
      return this.setNodes(found);
    });
    this.followChecks("critical", signal);
    this.followChecks("warning", signal);
    void this.follow(
      kvPath,
      signal,
      (body) => {
        const before = this.values;
        this.values = decodeKv(body);
        return (
          before === undefined || !sameList(Object.entries(before).flat(), Object.entries(this.values).flat())
        );
      },
      { mayBeBlind: (body) => body === null && "keys" },
    );
  }

  private followChecks(state: "critical" | "warning", signal: AbortSignal): void {
    const apply = (body: unknown): boolean => {
      const before = this[state];
      this[state] = decodeChecks(body);
      return this.checksChanged(before, this[state]);
    };
    const mayBeBlind = (body: unknown) => this[state]?.size !== 0 && listsNothing(body) && "services";
    void this.follow(checkPaths[state], signal, apply, { mayBeBlind });
  }

  stop(): void {
    this.stopped.abort();
    for (const { stop } of this.nodes.values()) stop.abort();
    this.consul.close();
  }

  get connected(): boolean {
    return this.failing.size === 0 && this.lastAnswer > 0;
  }

  /** The highest index of all queries. */
  get index(): number {
    return Math.max(0, ...this.indexes.values());
  }

  /** The index of the values of KV. */
  get kvIndex(): number {
    return this.indexes.get(kvPath) ?? 0;
  }

  /**
   * Which part of the last change may still be on its way. A service and its checks are written at once but arrive by
   * several queries. The queries for checks stay silent unless a check that does not pass changes, and the query for
   * services stays silent when only a check changes.
   */
  get missing(): Missing {
    const indexOf = (path: string) => this.indexes.get(path) ?? 0;
    const services = Math.max(0, ...[...this.nodes.keys()].map((node) => indexOf(nodePath(node))));
    const checks = Object.values(checkPaths).map(indexOf);
    if (checks.some((index) => index > services)) return "services";
    return checks.every((index) => index === services) ? "nothing" : "checks";
  }

  /** Undefined until every query has been answered once. Unchanged instances stay the same objects. */
  catalog(): Catalog | undefined {
    const { critical, warning, values } = this;
    if (!this.nodesKnown || critical === undefined || warning === undefined || values === undefined)
      return undefined;
    const parts: (readonly Instance[])[] = [];
    const problems: Problem[] = [];
    for (const [name, node] of this.nodes) {
      if (node.services === undefined) return undefined;
      node.instances ??= this.instances(name, node.address, node.services, critical, warning);
      parts.push(node.instances);
      if (node.problem !== undefined) problems.push(node.problem);
    }
    return { instances: parts.flat(), kv: values, ...(problems.length > 0 && { problems }) };
  }

  private instances(
    node: string,
    nodeAddress: string,
    services: readonly ConsulService[],
    critical: Checks,
    warning: Checks,
  ): Instance[] {
    const has = (checks: Checks, id: string) => {
      const found = checks.get(node);
      return found !== undefined && (found.has("") || found.has(id));
    };
    return services.map((service) => {
      const healthy = !has(critical, service.id);
      const warned = has(warning, service.id);
      const address = service.address === "" ? nodeAddress : service.address;
      const known = this.built.get(service);
      if (known?.healthy === healthy && (known.warning ?? false) === warned && known.address === address)
        return known;
      const built = { ...service, node, address, healthy, ...(warned && { warning: true }) };
      this.built.set(service, built);
      return built;
    });
  }

  /** Returns whether the checks have changed. */
  private checksChanged(before: Checks | undefined, after: Checks): boolean {
    if (before !== undefined && sameChecks(before, after)) return false;
    for (const node of this.nodes.values()) delete node.instances;
    return true;
  }

  private setNodes(found: ReadonlyMap<string, string>): boolean {
    let changed = !this.nodesKnown;
    this.nodesKnown = true;
    for (const [node, known] of this.nodes) {
      if (found.has(node)) continue;
      known.stop.abort();
      this.nodes.delete(node);
      this.recovered(nodePath(node));
      this.indexes.delete(nodePath(node));
      changed = true;
    }
    for (const [node, address] of found) {
      const known = this.nodes.get(node);
      if (known === undefined) this.followNode(node, address);
      else if (known.address !== address) {
        known.address = address;
        delete known.instances;
      } else continue;
      changed = true;
    }
    return changed;
  }

  private followNode(node: string, address: string): void {
    const entry: WatchedNode = { address, stop: new AbortController() };
    this.nodes.set(node, entry);
    // Anybody can register a node with any name. One bad node must not affect the others.
    const leaveOut = (problem: Problem) => {
      const changed = entry.problem === undefined;
      entry.problem = problem;
      // Keeps the services that Consul listed earlier.
      entry.services ??= [];
      return changed;
    };
    if (!isQueryable(node)) {
      leaveOut(unusable(node, `its name cannot be part of a URL: ${renameAdvice}`));
      return;
    }
    const apply = (body: unknown) => {
      const { services: before, problem } = entry;
      entry.services = decodeNodeServices(body, before);
      delete entry.problem;
      const same = before !== undefined && sameList(before, entry.services);
      if (!same) delete entry.instances;
      return !same || problem !== undefined;
    };
    void this.follow(nodePath(node), entry.stop.signal, apply, {
      refused: (why) => leaveOut(unusable(node, why)),
      mayBeBlind: (body) => entry.services?.length !== 0 && listsNothing(body) && "services",
    });
  }

  /**
   * A token that has lost its rights gets empty answers, exactly like those of a Consul that has lost its data. So before
   * such an answer counts, this reads something that must exist, or a key that Consul denies to a token without rights.
   *
   * @throws Error if the token cannot see it
   */
  private async confirmRights(what: Rights, signal: AbortSignal): Promise<void> {
    if (what === "keys") {
      await this.query(`kv/${kv.maxconn}`, 0, signal);
      return;
    }
    const { body } = await this.query("catalog/service/consul", 0, signal);
    if (Array.isArray(body) && body.length === 0)
      throw new Error(`Consul shows no service, not even its own. ${tokenAdvice}`);
  }

  /**
   * Repeats a blocking query until `signal` aborts. `apply` takes each answer and returns whether the catalog has changed.
   */
  private async follow(
    path: string,
    signal: AbortSignal,
    apply: (body: unknown) => boolean,
    { refused, mayBeBlind }: Special = {},
  ): Promise<void> {
    let index = 0;
    let { epoch } = this;
    let backoffMs = minBackoffMs;
    let lastChange = -Infinity;
    const over = () => signal.aborted;
    while (!over()) {
      if (epoch !== this.epoch) index = 0;
      epoch = this.epoch;
      try {
        const answer = await this.query(path, index, signal);
        if (over()) return;
        this.answered(answer);
        // Consul's documentation demands this: an index that goes back belongs to another history.
        if (answer.index < index) {
          this.events.suspect(`the index of ${path} went back from ${index} to ${answer.index}`);
          index = 0;
          continue;
        }
        const unchanged = answer.index === index && index > 0;
        const blind = !unchanged && mayBeBlind?.(answer.body);
        if (blind) await this.confirmRights(blind, signal);
        if (over()) return;
        index = Math.max(answer.index, 1);
        this.indexes.set(path, answer.index);
        const start = performance.now();
        const different = !unchanged && apply(answer.body);
        this.recovered(path);
        backoffMs = minBackoffMs;
        if (unchanged) continue;
        if (different) this.events.changed();
        else this.events.advanced?.();
        const busyMs = answer.parsingMs + performance.now() - start;
        const inBurst = start - lastChange < maxRestMs;
        lastChange = start;
        const restMs = inBurst ? Math.min(busyMs * restFactor, maxRestMs) : 0;
        await sleep(Math.max(restMs, minRestMs), undefined, { signal });
        await this.events.done?.();
      } catch (error) {
        if (over()) return;
        if (epoch !== this.epoch) continue;
        index = 0;
        const why = whyUnusable(error);
        if (refused !== undefined && why !== undefined) {
          if (refused(why)) this.events.changed();
          this.recovered(path);
          await pause(unusableNodeRetryMs, signal);
          continue;
        }
        if (this.failing.size === 0) this.events.suspect(messageOf(error));
        this.failing.add(path);
        if (error instanceof Unanswered && !this.lost) this.startOver();
        await pause(backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, maxBackoffMs);
      }
    }
  }

  /** Consul may come back with lower indexes, and a query for a higher index than it has would only wait. */
  private startOver(): void {
    this.lost = true;
    this.epoch++;
    for (const query of this.pending) query.abort();
  }

  private async query(path: string, index: number, signal: AbortSignal): Promise<Answer> {
    const query = new AbortController();
    const end = () => {
      query.abort();
    };
    signal.addEventListener("abort", end);
    this.pending.add(query);
    const seconds = this.nodes.size > nodeConnections ? turnSeconds : waitSeconds;
    try {
      return await this.consul.query(path, index, seconds, query.signal);
    } finally {
      this.pending.delete(query);
      signal.removeEventListener("abort", end);
    }
  }

  private answered({ filtered }: Answer): void {
    this.lastAnswer = Date.now();
    if (filtered && !this.filtered) {
      this.filtered = true;
      this.events.noticed?.(`Consul leaves out what this token may not see. ${tokenAdvice}.`);
    }
  }

  private recovered(path: string): void {
    if (!this.failing.delete(path) || this.failing.size > 0) return;
    this.lost = false;
    this.events.back?.();
  }
}

/** Waits about that long, so that queries do not retry in step. Ends early when `signal` aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);

/**
 * Why Consul cannot answer this one query, if the error is not about Consul as a whole: 403 is about the token, 429 about
 * us, and 404 comes from a Consul without this API.
 */
function whyUnusable(error: unknown): string | undefined {
  if (error instanceof TooLarge)
    return `its registrations make ${error.message}: deregister those that are not needed`;
  if (error instanceof Refusal && error.status < 500 && ![403, 404, 429].includes(error.status))
    return `Consul answers ${error.status} when queried for it: ${renameAdvice}`;
  return undefined;
}

const renameAdvice = "register it under a name of letters, digits, '-', '_' and '.', and deregister this one";

const unusable = (node: string, why: string): Problem => ({
  level: "quarantined",
  subject: show(node),
  message: `Node ${show(node)} is left out, since ${why}.`,
});
