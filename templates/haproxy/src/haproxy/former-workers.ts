/**
 * The workers that a reload, or another load balancer, has replaced. A client's connection that was idle then brings them one more
 * request, and requests wait there to be tried again. They check no instance and take no change of a server, so here they are kept
 * from an address that a service has left: another one may get it.
 */
import { originAt } from "../config/backend-pool";
import { heldTable, wokenPrefix } from "../config/hold";
import { leadingNowhere } from "../config/routes";
import type { MapName, Origin } from "../config/types";
import { parseHeld, parseMap, parseSessions, type ServerState } from "./commands";
import { ask } from "./socket";
import type { Actual, Operation } from "./types";

const routeMaps: readonly MapName[] = ["routes.map", "splits.map"];

/** A server that takes requests, in the worker that serves now. */
export interface WokenServer {
  readonly name: string;
  readonly definition: string;
  readonly origin: Pick<Origin, "backend" | "server">;
}

interface Process {
  /** The socket of its master. */
  readonly master: string;
  /** The process IDs of workers that have been replaced, from the answer to `show proc`. */
  readonly replaced: (answer: string) => string[];
}

/** A replaced worker. */
interface Worker {
  readonly name: string;
  readonly ask: (question: string) => Promise<string>;
}

/** A service's backend in replaced workers. */
interface Former {
  readonly backend: string;
  /** The backend of its service in the routing. */
  readonly origin: string;
  /** The names of its servers, by their address, which is their name in the routing. */
  readonly servers: Map<string, string>;
  /** By worker, the commands that restore the routes which no longer lead to it. */
  readonly closed: Map<string, readonly string[]>;
}

export class FormerWorkers {
  private processes: readonly Process[];
  private readonly formers = new Map<string, Former>();
  /** The backends in the routing of the services that have an address now, for the addresses in replaced workers. */
  private readonly holders = new Map<string, Set<string>>();
  /** Addresses whose holders have changed since the replaced workers were told. */
  private readonly changed = new Set<string>();
  /** The same for each worker, by its name, that is being told about earlier changes. */
  private readonly backlogs = new Map<string, Set<string>>();

  /**
   * @param master the socket of HAProxy's master process
   * @param dir the folder of the maps
   */
  constructor(
    private readonly master: string,
    private readonly dir: string,
    private readonly question = ask,
  ) {
    this.processes = [{ master, replaced: formerWorkers }];
  }

  /** A worker that had `before` has been replaced by one that has `now`. */
  add(before: Actual, now: Actual): void {
    for (const [backend, { servers }] of before.backends)
      for (const [server, { origin }] of servers) this.addServer(backend, server, origin);
    this.see(now);
  }

  /** A worker that had these servers has been replaced. `predecessor`: the master's socket, if it is another load balancer's. */
  addStates(states: readonly ServerState[], now: Actual, predecessor?: string): void {
    if (predecessor !== undefined)
      this.processes = [...this.processes, { master: predecessor, replaced: allWorkers }];
    for (const { backend, server } of states) this.addServer(backend, server, originAt(backend, server));
    this.see(now);
  }

  private addServer(backend: string, server: string, origin: Pick<Origin, "backend" | "server">): void {
    const key = `${backend} ${origin.backend}`;
    const known = this.formers.get(key);
    const former = known ?? { backend, origin: origin.backend, servers: new Map(), closed: new Map() };
    former.servers.set(origin.server, server);
    this.formers.set(key, former);
    this.holders.set(origin.server, new Set());
  }

  private see({ backends }: Actual): void {
    for (const [address, holders] of this.holders) {
      holders.clear();
      this.changed.add(address);
    }
    for (const { servers } of backends.values())
      for (const { origin, leaving } of servers.values())
        if (!leaving) this.holders.get(origin.server)?.add(origin.backend);
  }

  /** The worker that serves now has been changed. */
  note(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.kind === "map" || operation.kind === "unmap") continue;
      const { server, backend } = operation.origin;
      const holders = this.holders.get(server);
      if (holders === undefined || operation.kind === "weight") continue;
      if (operation.kind === "leave") holders.delete(backend);
      else holders.add(backend);
      this.changed.add(server);
    }
  }

  /**
   * Tells the replaced workers what has changed. If that fails, the next call does it again. One that does not answer, as when it is
   * about to end, delays none of the others, nor later calls.
   */
  async follow(): Promise<void> {
    if (this.changed.size === 0) return;
    const workers = await this.workers();
    if (workers.length === 0) {
      this.formers.clear();
      this.holders.clear();
    }
    const changed = [...this.changed];
    this.changed.clear();
    await Promise.all(workers.map((worker) => this.tell(worker, changed)));
  }

  /**
   * Gives the requests that wait there for services that sleep the servers which these have by now. Those workers have none of
   * them. Returns whether any request waits.
   */
  async wake(serversOf: (service: string) => Promise<readonly WokenServer[]>): Promise<boolean> {
    let waits = false;
    for (const worker of await this.workers()) {
      const held = parseHeld(await worker.ask(`show table ${heldTable}`));
      if (held.size === 0) continue;
      waits = true;
      const backends = backendsByService(await worker.ask(`show map ${this.dir}/routes.map`));
      for (const service of held.keys()) {
        const backend = backends.get(service);
        if (backend === undefined) continue;
        for (const { name, definition, origin } of await serversOf(service)) {
          const added = `${wokenPrefix}${name}`;
          await worker.ask(`add server ${backend}/${added} ${definition}`);
          const holders = this.holders.get(origin.server) ?? new Set();
          this.addServer(backend, added, origin);
          this.holders.set(origin.server, holders.add(origin.backend));
        }
      }
    }
    return waits;
  }

  private async tell(worker: Worker, changed: readonly string[]): Promise<void> {
    const busy = this.backlogs.get(worker.name);
    if (busy !== undefined) {
      for (const address of changed) busy.add(address);
      return;
    }
    const backlog = new Set(changed);
    this.backlogs.set(worker.name, backlog);
    let told: readonly string[] = [];
    try {
      while (backlog.size > 0) {
        told = [...backlog];
        backlog.clear();
        const concerned = [...this.formers.values()].filter(({ servers }) =>
          told.some((address) => servers.has(address)),
        );
        await this.reopen(worker, concerned);
        await this.close(worker, concerned);
        await this.shutDown(worker, concerned);
      }
    } catch (error) {
      for (const address of [...told, ...backlog]) this.changed.add(address);
      throw error;
    } finally {
      this.backlogs.delete(worker.name);
    }
  }

  private async workers(): Promise<Worker[]> {
    const found: Worker[] = [];
    for (const { master, replaced } of this.processes) {
      const answer = this.question(master, "show proc");
      // A predecessor that has ended has none.
      for (const pid of replaced(await (master === this.master ? answer : answer.catch(() => ""))))
        found.push({
          name: `${master} ${pid}`,
          ask: (question) => this.question(master, `@!${pid} ${question}`),
        });
    }
    return found;
  }

  private has({ origin }: Former, address: string): boolean {
    return this.holders.get(address)?.has(origin) === true;
  }

  /** Whether a request to it would only find addresses that its service has left, or may find one of another service. */
  private isDangerous(former: Former): boolean {
    const addresses = [...former.servers.keys()];
    const isTaken = (address: string) => this.holders.get(address)?.size !== 0 && !this.has(former, address);
    return addresses.some(isTaken) || !addresses.some((address) => this.has(former, address));
  }

  private async reopen(worker: Worker, concerned: readonly Former[]): Promise<void> {
    for (const former of concerned) {
      const commands = former.closed.get(worker.name);
      if (commands === undefined || this.isDangerous(former)) continue;
      for (const command of commands) await worker.ask(command);
      former.closed.delete(worker.name);
    }
  }

  private async close(worker: Worker, concerned: readonly Former[]): Promise<void> {
    const closing = concerned.filter((former) => !former.closed.has(worker.name) && this.isDangerous(former));
    if (closing.length === 0) return;
    const restore = new Map<Former, string[]>(closing.map((former) => [former, []]));
    for (const map of routeMaps) {
      const set = `set map ${this.dir}/${map}`;
      for (const [key, text] of parseMap(await worker.ask(`show map ${this.dir}/${map}`)))
        for (const [former, commands] of restore) {
          const nowhere = leadingNowhere(text, former);
          if (nowhere === undefined) continue;
          await worker.ask(`${set} ${key} ${nowhere}`);
          commands.push(`${set} ${key} ${text}`);
        }
    }
    for (const [former, commands] of restore) former.closed.set(worker.name, commands);
  }

  /**
   * Ends requests that have no connection yet, and would try an address that their service has left. While the
   * service has other instances there and nobody else has the address, they are tried again on those, and succeed.
   */
  private async shutDown(worker: Worker, concerned: readonly Former[]): Promise<void> {
    const left = new Set<string>();
    for (const former of concerned.filter((each) => this.isDangerous(each)))
      for (const [address, server] of former.servers)
        if (!this.has(former, address)) left.add(`${former.backend}/${server}`);
    if (left.size === 0) return;
    for (const { id, server, isConnected } of parseSessions(await worker.ask("show sess")))
      if (!isConnected && left.has(server)) await worker.ask(`shutdown session ${id}`);
  }
}

/** The backend that each service has, by the routes that lead to one. */
function backendsByService(routes: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const text of parseMap(routes).values()) {
    const [, , , backend, service] = text.split("|");
    if (backend !== undefined && service !== undefined && !backend.startsWith("%"))
      found.set(service, backend);
  }
  return found;
}

/** The process IDs of replaced workers in the answer to `show proc`. */
export function formerWorkers(answer: string): string[] {
  const [, former = ""] = answer.split(/^# old workers.*$/m);
  return allWorkers(former);
}

const allWorkers = (answer: string): string[] =>
  [...answer.matchAll(/^(\d+)\s+worker\s/gm)].map(([, pid = ""]) => pid);
