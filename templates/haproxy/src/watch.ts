/**
 * The catalog kept up to date with one blocking query per node and three more: what it costs grows with nodes and
 * changes, not with services (consul-template #1065 is what one per service leads to).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Catalog, Instance } from "../../../model/routes";
import { kv } from "../../../model/names";
import type { Consul } from "./consul";
import {
  checkKey,
  decodeChecks,
  type Checks,
  decodeKv,
  decodeNodeServices,
  decodeNodes,
  type ConsulService,
} from "./decode";

const wait = 300;
const firstBackoff = 100;
const longestBackoff = 5_000;

export interface WatchEvents {
  readonly changed: () => void;
  /** Consul cannot be asked, or has gone back in time; what it says next is to be doubted. */
  readonly doubted: (why: string) => void;
  /** Consul answers again. */
  readonly back: () => void;
}

export class Watch {
  private readonly stopped = new AbortController();
  private readonly nodes = new Map<
    string,
    { address: string; services?: ConsulService[]; stop: AbortController }
  >();
  private checks: Checks | undefined;
  private values: Readonly<Record<string, string>> | undefined;
  private nodesKnown = false;
  private readonly failing = new Set<string>();
  private readonly indexes = new Map<string, number>();
  /** Milliseconds. */
  lastAnswer = 0;

  constructor(
    private readonly consul: Consul,
    private readonly events: WatchEvents,
  ) {}

  start(): void {
    const { signal } = this.stopped;
    void this.follow("catalog/nodes", signal, (body) => {
      this.setNodes(decodeNodes(body));
    });
    void this.follow("health/state/any", signal, (body) => {
      this.checks = decodeChecks(body);
    });
    void this.follow(`kv/${kv.prefix}?recurse`, signal, (body) => {
      this.values = decodeKv(body);
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

  /** Undefined until every part has been answered once. */
  catalog(): Catalog | undefined {
    const { checks, values } = this;
    if (!this.nodesKnown || checks === undefined || values === undefined) return undefined;
    const instances: Instance[] = [];
    for (const [node, { address, services }] of this.nodes) {
      if (services === undefined) return undefined;
      const said = (set: ReadonlySet<string>, id: string) =>
        set.has(checkKey(node, "")) || set.has(checkKey(node, id));
      for (const service of services)
        instances.push({
          ...service,
          node,
          address: service.address === "" ? address : service.address,
          healthy: !said(checks.critical, service.id),
          ...(said(checks.warning, service.id) && { warning: true }),
        });
    }
    return { instances, kv: values };
  }

  private setNodes(found: ReadonlyMap<string, string>): void {
    this.nodesKnown = true;
    for (const [node, known] of this.nodes) {
      if (found.has(node)) continue;
      known.stop.abort();
      this.nodes.delete(node);
      this.failing.delete(nodePath(node));
      this.indexes.delete(nodePath(node));
    }
    for (const [node, address] of found) {
      const known = this.nodes.get(node);
      if (known !== undefined) {
        known.address = address;
        continue;
      }
      const entry: { address: string; services?: ConsulService[]; stop: AbortController } = {
        address,
        stop: new AbortController(),
      };
      this.nodes.set(node, entry);
      void this.follow(nodePath(node), entry.stop.signal, (body) => {
        entry.services = decodeNodeServices(body);
      });
    }
  }

  /** One blocking query, for as long as it is wanted. */
  private async follow(path: string, signal: AbortSignal, apply: (body: unknown) => void): Promise<void> {
    let index = 0;
    let backoff = firstBackoff;
    const over = () => signal.aborted;
    while (!over()) {
      try {
        const answer = await this.consul.query(path, index, wait, signal);
        if (over()) return;
        this.answered(path);
        backoff = firstBackoff;
        // Consul asks for exactly this: an index that goes back means another history, so start from the beginning.
        if (answer.index < index) {
          this.events.doubted(`the index of ${path} went back from ${index} to ${answer.index}`);
          index = 0;
          continue;
        }
        const unchanged = answer.index === index && index > 0;
        index = Math.max(answer.index, 1);
        this.indexes.set(path, answer.index);
        if (unchanged) continue;
        apply(answer.body);
        this.events.changed();
      } catch (error) {
        if (over()) return;
        if (this.failing.size === 0)
          this.events.doubted(error instanceof Error ? error.message : String(error));
        this.failing.add(path);
        // The Consul that comes back may have begun anew; asked for a higher index than it has, it would just wait.
        index = 0;
        await sleep(backoff * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);
        backoff = Math.min(backoff * 2, longestBackoff);
      }
    }
  }

  private answered(path: string): void {
    this.lastAnswer = Date.now();
    if (this.failing.delete(path) && this.failing.size === 0) this.events.back();
  }
}

const nodePath = (node: string): string => `catalog/node-services/${encodeURIComponent(node)}`;
