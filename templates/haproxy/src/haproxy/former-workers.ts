/**
 * The workers that a reload, or another load balancer, has replaced. A client's connection that was idle then brings them one more
 * request. They check no instance and take no change of a server, but retry another one where nobody listens any more. So what is
 * left to prevent is that an instance of another service has got the address of one that has left.
 */
import { originAt } from "../config/backend-pool";
import { leadingNowhere } from "../config/routes";
import type { MapName } from "../config/types";
import { parseMap, type ServerState } from "./commands";
import { ask } from "./socket";
import type { Actual } from "./types";

const routeMaps: readonly MapName[] = ["routes.map", "splits.map"];

interface Process {
  /** The socket of its master. */
  readonly master: string;
  /** The process IDs of workers that have been replaced, from the answer to `show proc`. */
  readonly replaced: (answer: string) => string[];
}

interface Former {
  /** The backend of its service in the routing. */
  readonly origin: string;
  /** Its backend in the replaced workers, whose routes stay until another service has the address. */
  readonly backend: string;
}

export class FormerWorkers {
  private processes: readonly Process[];
  /** By the name of the server in the routing, which is its address. */
  private readonly servers = new Map<string, Former[]>();
  /** The backends in the replaced workers that no route leads to any more. */
  private readonly closed = new Set<string>();

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

  /** A worker has been replaced that had this. */
  add({ backends }: Actual): void {
    for (const [backend, { servers }] of backends)
      for (const { origin } of servers.values()) this.addServer(origin.server, origin.backend, backend);
  }

  /** A worker has been replaced that had these servers. `predecessor`: the master's socket, if it is another load balancer's. */
  addStates(states: readonly ServerState[], predecessor?: string): void {
    if (predecessor !== undefined)
      this.processes = [...this.processes, { master: predecessor, replaced: allWorkers }];
    for (const { backend, server } of states) {
      const origin = originAt(backend, server);
      this.addServer(origin.server, origin.backend, backend);
    }
  }

  private addServer(server: string, origin: string, backend: string): void {
    const known = this.servers.get(server) ?? [];
    if (!known.some((each) => each.backend === backend)) known.push({ origin, backend });
    this.servers.set(server, known);
  }

  /** Takes away the routes to backends with an address that another service has now. */
  async follow({ backends }: Actual): Promise<void> {
    if (this.servers.size === 0) return;
    const present = new Map<string, Set<string>>();
    for (const { servers } of backends.values())
      for (const { origin, leaving } of servers.values())
        if (!leaving)
          present.set(origin.server, (present.get(origin.server) ?? new Set()).add(origin.backend));
    const closing = new Set<string>();
    for (const [server, all] of this.servers) {
      const now = present.get(server);
      if (now === undefined) continue;
      for (const { origin, backend } of all)
        if (!now.has(origin) && !this.closed.has(backend)) closing.add(backend);
    }
    if (closing.size > 0) await this.close(closing);
  }

  private async close(closing: ReadonlySet<string>): Promise<void> {
    let any = false;
    for (const { master, replaced } of this.processes)
      for (const worker of replaced(await this.processesOf(master))) {
        any = true;
        for (const map of routeMaps) {
          const entries = parseMap(await this.question(master, `@!${worker} show map ${this.dir}/${map}`));
          for (const [key, text] of entries) {
            const nowhere = leadingNowhere(text, closing);
            if (nowhere !== undefined)
              await this.question(master, `@!${worker} set map ${this.dir}/${map} ${key} ${nowhere}`);
          }
        }
      }
    if (any) for (const backend of closing) this.closed.add(backend);
    else {
      this.servers.clear();
      this.closed.clear();
    }
  }

  /** A predecessor that has ended has none. */
  private processesOf(master: string): Promise<string> {
    const answer = this.question(master, "show proc");
    return master === this.master ? answer : answer.catch(() => "");
  }
}

/** The process IDs of replaced workers in the answer to `show proc`. */
export function formerWorkers(answer: string): string[] {
  const [, former = ""] = answer.split(/^# old workers.*$/m);
  return allWorkers(former);
}

const allWorkers = (answer: string): string[] =>
  [...answer.matchAll(/^(\d+)\s+worker\s/gm)].map(([, pid = ""]) => pid);
