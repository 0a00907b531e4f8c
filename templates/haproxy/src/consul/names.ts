/**
 * Resolves the DNS names that services have instead of addresses. HAProxy cannot: it takes no resolver for a server that is
 * added while it runs (3.0), and every other change of addresses would be a reload.
 */
import { getServers, Resolver } from "node:dns/promises";
import { parseAddress } from "../../../../routing/grammar";
import type { Resolution } from "../../../../routing/types";
import { compare } from "../../../../lib/text";

export interface NameOptions {
  /** DNS servers, as `address` or `address:port`, to ask before those of the machine. */
  readonly servers: readonly string[];
  /** The addresses of a name have changed, or it cannot be resolved any more. */
  readonly changed: () => void;
  /** Whether to ask no others. */
  readonly alone?: boolean;
  /** An answer counts for its TTL, but at least this long. Default: 5 s. */
  readonly shortestMs?: number;
  /** When to ask again after an error. Default: 5 s. */
  readonly retryMs?: number;
  /** How long a name that does not exist any more keeps its addresses: a DNS that starts knows nothing yet. Default: 30 s. */
  readonly holdMs?: number;
  /** How long to wait for a server at first. Default: 1 s. */
  readonly timeoutMs?: number;
}

const defaults = { alone: false, shortestMs: 5_000, retryMs: 5_000, holdMs: 30_000, timeoutMs: 1_000 };

/** An answer counts for its TTL, but not longer than this. */
const longestMs = 60_000;
const tries = 2;
/** Questions at the same time. */
const mostQuestions = 20;
/** A name with more addresses has these, in order. */
const mostAddresses = 64;

interface Followed {
  resolution: Resolution | undefined;
  /** Since when the name has not existed, as `performance.now()`. */
  goneSince: number | undefined;
  timer: NodeJS.Timeout | undefined;
}

interface Found {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
}

/** The codes of DNS that say that a name, or an address of this family, does not exist. */
const nonexistent = new Set(["ENOTFOUND", "ENODATA"]);

export class Names {
  private readonly followed = new Map<string, Followed>();
  private readonly waiting: string[] = [];
  private questions = 0;
  private idle: (() => void)[] = [];
  private readonly options: Required<NameOptions>;
  /** One for each server, in the order in which they are asked. */
  private readonly resolvers: readonly Resolver[];

  constructor(options: NameOptions) {
    this.options = { ...defaults, ...options };
    const { servers, alone, timeoutMs } = this.options;
    this.resolvers = [...servers, ...(alone ? [] : getServers())].map((server) => {
      const resolver = new Resolver({ timeout: timeoutMs, tries });
      resolver.setServers([server]);
      return resolver;
    });
  }

  /** What is known of each name. */
  get resolutions(): ReadonlyMap<string, Resolution | undefined> {
    return new Map([...this.followed].map(([name, { resolution }]) => [name, resolution]));
  }

  /** Follows these names and no others. Returns whether one of them is new. */
  follow(names: Iterable<string>): boolean {
    const wanted = new Set(names);
    for (const [name, { timer }] of this.followed)
      if (!wanted.has(name)) {
        clearTimeout(timer);
        this.followed.delete(name);
      }
    const fresh = [...wanted].filter((name) => !this.followed.has(name));
    for (const name of fresh) {
      this.followed.set(name, { resolution: undefined, goneSince: undefined, timer: undefined });
      this.enqueue(name);
    }
    return fresh.length > 0;
  }

  /** Settles once every name has been asked for, or after `waitMs`. */
  async settled(waitMs: number): Promise<void> {
    if (this.questions === 0) return;
    await new Promise<void>((resolve) => {
      this.idle.push(resolve);
      setTimeout(resolve, waitMs).unref();
    });
  }

  stop(): void {
    this.follow([]);
    for (const resolver of this.resolvers) resolver.cancel();
  }

  private enqueue(name: string): void {
    this.waiting.push(name);
    this.next();
  }

  private next(): void {
    while (this.questions < mostQuestions) {
      const name = this.waiting.shift();
      if (name === undefined) break;
      const entry = this.followed.get(name);
      if (entry === undefined) continue;
      this.questions++;
      void this.ask(name, entry).finally(() => {
        this.questions--;
        this.next();
      });
    }
    if (this.questions === 0) for (const resolve of this.idle.splice(0)) resolve();
  }

  private async ask(name: string, entry: Followed): Promise<void> {
    const answer = await this.resolve(name).catch((error: unknown) => codeOf(error));
    if (this.followed.get(name) !== entry) return;
    const before = entry.resolution;
    entry.resolution =
      typeof answer === "string" ? this.failed(entry, answer) : { addresses: answer.addresses };
    if (typeof answer !== "string") entry.goneSince = undefined;
    const pauseMs = typeof answer === "string" ? this.options.retryMs : answer.ttlMs;
    entry.timer = setTimeout(() => {
      this.enqueue(name);
    }, pauseMs).unref();
    if (JSON.stringify(before) === JSON.stringify(entry.resolution)) entry.resolution = before;
    else this.options.changed();
  }

  private failed(entry: Followed, code: string): Resolution {
    const addresses = entry.resolution?.addresses ?? [];
    if (!nonexistent.has(code)) {
      entry.goneSince = undefined;
      return { addresses, problem: code };
    }
    const now = performance.now();
    entry.goneSince ??= now;
    return { addresses: now - entry.goneSince < this.options.holdMs ? addresses : [], problem: code };
  }

  /**
   * Asks the next server where one fails or refuses, as Consul does for names outside its domain. That a name does not exist
   * is not believed while a server that might know it fails: the node's DNS does not know Consul's names.
   */
  private async resolve(name: string): Promise<Found> {
    let failure: unknown;
    let refusal: unknown = new Error("no DNS server");
    for (const resolver of this.resolvers) {
      try {
        return await this.resolveWith(resolver, name);
      } catch (error) {
        const code = codeOf(error);
        if (nonexistent.has(code)) throw failure ?? error;
        if (code === "EREFUSED") refusal = error;
        else failure ??= error;
      }
    }
    throw failure ?? refusal;
  }

  /** IPv6 only where there is no IPv4: many networks have it in DNS alone. */
  private async resolveWith(resolver: Resolver, name: string): Promise<Found> {
    const records = await resolver.resolve4(name, { ttl: true }).catch((error: unknown) => {
      if (nonexistent.has(codeOf(error))) return resolver.resolve6(name, { ttl: true });
      throw error;
    });
    const usable = records.flatMap(({ address }) => {
      const parsed = parseAddress(address);
      return parsed.ok ? [parsed.value] : [];
    });
    if (usable.length === 0) throw Object.assign(new Error("no usable address"), { code: "ENODATA" });
    const ttlMs = Math.min(...records.map(({ ttl }) => ttl)) * 1_000;
    return {
      addresses: [...new Set(usable)].sort(compare).slice(0, mostAddresses),
      ttlMs: Math.min(Math.max(ttlMs, this.options.shortestMs), longestMs),
    };
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "EUNKNOWN";
