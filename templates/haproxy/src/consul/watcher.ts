/**
 * The catalog kept up to date with one blocking query per node and four more: what it costs grows with nodes and
 * changes, not with services (consul-template #1065 is what one per service leads to). Of checks only those are asked
 * for that are not passing: the answer to health/state/any has 450 bytes for every service, at every change of a check.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Catalog, Instance, Problem } from "../../../../routing/build";
import { kv, show } from "../../../../routing/grammar";
import { nodeConnections, nodePath, Refusal, tokenAdvice, TooLarge, Unanswered, type Answer } from "./client";
import {
  canBeAskedFor,
  decodeChecks,
  decodeKv,
  decodeNodeServices,
  decodeNodes,
  sameChecks,
  sameList,
  type Checks,
  type ConsulService,
} from "./decode";

/**
 * Seconds. A Consul that has ceased to answer is noticed after these and a few more; one whose machine is gone, sooner. It goes
 * on waiting, and counting the connection, when we have gone: with more, a few restarts in a row would use up its 200.
 */
const wait = 60;
/** When there are more nodes than connections for them, their queries take turns. */
const shortWait = 5;
const firstBackoff = 100;
const longestBackoff = 5_000;
/** What Consul says of a name will hardly change. */
const refusedPause = 60_000;
/** Of the time, in changes that come one on the heels of the other, reading answers takes at most one part in this. */
const restingParts = 3;
const longestRest = 1_000;
/** In these, whoever is told of a change begins with it, and then has the processor until it is done. */
const shortestRest = 5;

const checkPaths = ["health/state/critical", "health/state/warning"] as const;

export interface WatchEvents {
  readonly changed: () => void;
  /** Consul has a higher index, and nothing of what is watched is different. */
  readonly advanced?: () => void;
  /** Settles when nothing is on its way to HAProxy any more: what Consul said before that would have to wait anyway. */
  readonly done?: () => Promise<void>;
  /** Consul cannot be asked, or has gone back in time; what it says next is to be doubted. */
  readonly doubted: (why: string) => void;
  /** Consul answers again. */
  readonly back?: () => void;
  /** Something that the operator should know, said once. */
  readonly noticed?: (what: string) => void;
}

export type Missing = "nothing" | "checks" | "services";

/** What is asked of Consul. */
export interface Source {
  query(path: string, index: number, wait: number, signal: AbortSignal): Promise<Answer>;
  close(): void;
}

interface WatchedNode {
  address: string;
  services?: readonly ConsulService[];
  instances?: readonly Instance[];
  /** Why Consul cannot be asked for it. */
  problem?: Problem;
  readonly stop: AbortController;
}

export class Watch {
  private readonly stopped = new AbortController();
  private readonly nodes = new Map<string, WatchedNode>();
  private critical: Checks | undefined;
  private warning: Checks | undefined;
  private values: Readonly<Record<string, string>> | undefined;
  private nodesKnown = false;
  private readonly failing = new Set<string>();
  /** No answer comes any more, since the last time that all questions had one. */
  private lost = false;
  /** Another one for each time that Consul may have begun anew. */
  private history = 0;
  /** The questions that it has not answered yet. */
  private readonly asking = new Set<AbortController>();
  private readonly indexes = new Map<string, number>();
  private filtered = false;
  /** What a service was made into, for as long as it is the same one. */
  private readonly made = new WeakMap<ConsulService, Instance>();
  /** Milliseconds. */
  lastAnswer = 0;

  constructor(
    private readonly consul: Source,
    private readonly events: WatchEvents,
  ) {}

  start(): void {
    const { signal } = this.stopped;
    void this.follow("catalog/nodes", signal, (body) => {
      const found = decodeNodes(body);
      // Consul's servers are nodes themselves; before 1.11 this is all that tells of a token that may see nothing.
      if (found.size === 0) throw new Error(`Consul shows no node, not even its own. ${tokenAdvice}`);
      return this.setNodes(found);
    });
    const [critical, warning] = checkPaths;
    void this.follow(critical, signal, (body) => {
      const before = this.critical;
      this.critical = decodeChecks(body);
      return this.checked(before, this.critical);
    });
    void this.follow(warning, signal, (body) => {
      const before = this.warning;
      this.warning = decodeChecks(body);
      return this.checked(before, this.warning);
    });
    void this.follow(`kv/${kv.prefix}?recurse`, signal, (body) => {
      const before = this.values;
      this.values = decodeKv(body);
      return (
        before === undefined || !sameList(Object.entries(before).flat(), Object.entries(this.values).flat())
      );
    });
  }

  stop(): void {
    this.stopped.abort();
    for (const { stop } of this.nodes.values()) stop.abort();
    this.consul.close();
  }

  get connected(): boolean {
    return this.failing.size === 0 && this.lastAnswer > 0;
  }

  /** The highest index of all that is watched. */
  get index(): number {
    return Math.max(0, ...this.indexes.values());
  }

  /**
   * What may be still to come of the last change. A service and its checks come in one write and are told of by several
   * queries. Consul tells nothing of checks where none that is not passing has changed, and nothing of services where a check
   * changes by itself.
   */
  get missing(): Missing {
    const indexOf = (path: string) => this.indexes.get(path) ?? 0;
    const services = Math.max(0, ...[...this.nodes.keys()].map((node) => indexOf(nodePath(node))));
    const checks = checkPaths.map(indexOf);
    if (checks.some((index) => index > services)) return "services";
    return checks.every((index) => index === services) ? "nothing" : "checks";
  }

  /** Undefined until every part has been answered once. Instances that have not changed are the same objects. */
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
    const said = (checks: Checks, id: string) => {
      const found = checks.get(node);
      return found !== undefined && (found.has("") || found.has(id));
    };
    return services.map((service) => {
      const healthy = !said(critical, service.id);
      const warned = said(warning, service.id);
      const address = service.address === "" ? nodeAddress : service.address;
      const known = this.made.get(service);
      if (known?.healthy === healthy && (known.warning ?? false) === warned && known.address === address)
        return known;
      const made = { ...service, node, address, healthy, ...(warned && { warning: true }) };
      this.made.set(service, made);
      return made;
    });
  }

  /** Whether checks say something else than before. */
  private checked(before: Checks | undefined, after: Checks): boolean {
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
    // Anybody can register a node with any name; one must not keep the others from being served.
    const leaveOut = (problem: Problem) => {
      const changed = entry.problem === undefined;
      entry.problem = problem;
      // Should it ever have been told of, that is better than nothing.
      entry.services ??= [];
      return changed;
    };
    if (!canBeAskedFor(node)) {
      leaveOut(unusable(node, `its name cannot be part of a URL: ${otherName}`));
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
    void this.follow(nodePath(node), entry.stop.signal, apply, (why) => leaveOut(unusable(node, why)));
  }

  /**
   * One blocking query, for as long as it is wanted. `apply` tells whether anything is different, and so does `refused`,
   * which is told where it is this one question that has no answer to be used.
   */
  private async follow(
    path: string,
    signal: AbortSignal,
    apply: (body: unknown) => boolean,
    refused?: (why: string) => boolean,
  ): Promise<void> {
    let index = 0;
    let { history } = this;
    let backoff = firstBackoff;
    let lastChange = -Infinity;
    const over = () => signal.aborted;
    while (!over()) {
      if (history !== this.history) index = 0;
      history = this.history;
      try {
        const answer = await this.query(path, index, signal);
        if (over()) return;
        this.answered(answer);
        // Consul asks for exactly this: an index that goes back means another history, so start from the beginning.
        if (answer.index < index) {
          this.events.doubted(`the index of ${path} went back from ${index} to ${answer.index}`);
          index = 0;
          continue;
        }
        const unchanged = answer.index === index && index > 0;
        index = Math.max(answer.index, 1);
        this.indexes.set(path, answer.index);
        const start = performance.now();
        const different = !unchanged && apply(answer.body);
        this.recovered(path);
        backoff = firstBackoff;
        if (unchanged) continue;
        if (different) this.events.changed();
        else this.events.advanced?.();
        const busy = answer.parsingMs + performance.now() - start;
        const hurried = start - lastChange < longestRest;
        lastChange = start;
        const rest = hurried ? Math.min(busy * restingParts, longestRest) : 0;
        await sleep(Math.max(rest, shortestRest), undefined, { signal });
        await this.events.done?.();
      } catch (error) {
        if (over()) return;
        if (history !== this.history) continue;
        index = 0;
        const about = aboutQuestion(error);
        if (refused !== undefined && about !== undefined) {
          if (refused(about)) this.events.changed();
          this.recovered(path);
          await pause(refusedPause, signal);
          continue;
        }
        if (this.failing.size === 0)
          this.events.doubted(error instanceof Error ? error.message : String(error));
        this.failing.add(path);
        if (error instanceof Unanswered && !this.lost) this.beginAnew();
        await pause(backoff, signal);
        backoff = Math.min(backoff * 2, longestBackoff);
      }
    }
  }

  /** A Consul that comes back may have begun anew; asked for a higher index than it has, it would just wait. */
  private beginAnew(): void {
    this.lost = true;
    this.history++;
    for (const question of this.asking) question.abort();
  }

  private async query(path: string, index: number, signal: AbortSignal): Promise<Answer> {
    const question = new AbortController();
    const end = () => {
      question.abort();
    };
    signal.addEventListener("abort", end);
    this.asking.add(question);
    try {
      return await this.consul.query(path, index, this.longest(), question.signal);
    } finally {
      this.asking.delete(question);
      signal.removeEventListener("abort", end);
    }
  }

  /** How long Consul may take, in seconds. What is asked for without an index is answered at once. */
  private longest(): number {
    return this.nodes.size > nodeConnections ? shortWait : wait;
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

/** Not all at once, and no longer than it is wanted. */
const pause = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  sleep(milliseconds * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);

/** What is wrong with one question and not with Consul: 403 is about the token, 429 about us, 404 of a Consul without that API. */
function aboutQuestion(error: unknown): string | undefined {
  if (error instanceof TooLarge)
    return `what is registered there makes ${error.message}: deregister what is not needed`;
  if (error instanceof Refusal && error.status < 500 && ![403, 404, 429].includes(error.status))
    return `Consul answers ${error.status} when it is asked for that node: ${otherName}`;
  return undefined;
}

const otherName = "register it under a name of letters, digits, '-', '_' and '.', and deregister this one";

const unusable = (node: string, why: string): Problem => ({
  level: "quarantined",
  subject: show(node),
  message: `Node ${show(node)} is left out, since ${why}.`,
});
