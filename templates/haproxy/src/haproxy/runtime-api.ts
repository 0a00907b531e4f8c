/** The running worker: changed, asked, and rid of servers whose last connection has ended. */
import {
  complaints,
  healthUp,
  parseHeld,
  parseLoad,
  parseMap,
  parseRequests,
  parseServersState,
  parseServersUp,
  parseWaiting,
  toCommands,
  toPayloads,
  type BackendLoad,
  type ServerState,
  type WaitingRequest,
} from "./commands";
import type { CertificateChange } from "../config/certificates";
import { certificateCommands } from "./certificate-commands";
import { heldTable } from "../config/hold";
import { mapNames, textOf, type MapName, type MapValue } from "../config/types";
import { ask, Session } from "./socket";
import type { Actual, ActualServer, Operation } from "./types";

export class Runtime {
  private readonly session: Session;

  constructor(
    private readonly socket: string,
    private readonly dir: string,
  ) {
    this.session = new Session(socket);
  }

  /** Lets go of the worker, which would not end meanwhile; the next command goes to the one that is there then. */
  disconnect(): void {
    this.session.close();
  }

  /** Applies operations in order, `answering` as in `toCommands`, and answers with what HAProxy complained about. */
  async apply(operations: readonly Operation[], answering?: ReadonlySet<string>): Promise<string[]> {
    const found: string[] = [];
    const commands = operations.flatMap((operation) => toCommands(operation, this.dir, answering));
    for (const payload of toPayloads(commands)) {
      found.push(...complaints(await this.session.ask(payload)));
      if (found.length > 0) break;
    }
    return found;
  }

  /** Of the servers of these backends, or of all. */
  async states(backends?: readonly string[]): Promise<ServerState[]> {
    const commands = backends?.map((backend) => `show servers state ${backend}`) ?? ["show servers state"];
    const states: ServerState[] = [];
    for (const payload of toPayloads(commands))
      for (const state of parseServersState(await ask(this.socket, payload))) states.push(state);
    return states;
  }

  /** The servers that are up, by the names that they have in a routing. */
  async serversUp(): Promise<Set<string>> {
    return parseServersUp(await ask(this.socket, "show servers state"));
  }

  async map(name: MapName): Promise<Map<string, string>> {
    return parseMap(await ask(this.socket, `show map ${this.dir}/${name}`));
  }

  /** The counters of everything that has a GUID, as the next worker reads them. */
  counters(): Promise<string> {
    return ask(this.socket, "dump stats-file");
  }

  /** Has been seen to answer; HAProxy's own check goes on from there. */
  async healthy(backend: string, server: string): Promise<void> {
    await this.session.ask(healthUp(`${backend}/${server}`));
  }

  /** The load of every backend. */
  async loads(): Promise<BackendLoad[]> {
    return parseLoad(await ask(this.socket, "show stat -1 6 -1"));
  }

  /** By service, how many requests wait for it to wake. */
  async held(): Promise<Map<string, number>> {
    return parseHeld(await ask(this.socket, `show table ${heldTable}`));
  }

  /** The requests that have no server. */
  async waiting(): Promise<WaitingRequest[]> {
    return parseWaiting(await ask(this.socket, "show sess"));
  }

  /** Ends a request. */
  async end({ id }: WaitingRequest): Promise<void> {
    await ask(this.socket, `shutdown session ${id}`);
  }

  /** How many requests a backend has, including those that wait for a connection or to be tried again. */
  async requests(backend: string): Promise<number> {
    return parseRequests(await this.session.ask(`show stat ${backend} 2 -1`));
  }

  /** Whether the server is gone. HAProxy refuses while it has connections; then the answer is no. */
  async remove(backend: string, server: string): Promise<boolean> {
    const answer = await this.session.ask(`del server ${backend}/${server}`);
    return /Server deleted|No such server|No such backend/i.test(answer);
  }

  /**
   * `known`, with the servers and maps that the worker really has. Sections cannot be asked for. An entry of a map that
   * reads as we wrote it is the known one; any other is only its text.
   */
  async actual(known: Actual): Promise<Actual> {
    const states = await this.states();
    const maps: Partial<Record<MapName, Map<string, MapValue>>> = {};
    for (const name of mapNames) {
      const wrote = known.maps[name];
      const found = await this.map(name);
      maps[name] = new Map(
        [...found].map(([key, text]) => {
          const value = wrote.get(key);
          return [key, value !== undefined && textOf(value) === text ? value : text];
        }),
      );
    }
    const servers = new Map<string, Map<string, ActualServer>>();
    for (const { backend, server, weight, maintenance } of states) {
      const found = servers.get(backend) ?? new Map<string, ActualServer>();
      const { origin = { backend, server, service: backend }, definition } =
        known.backends.get(backend)?.servers.get(server) ?? {};
      servers.set(backend, found.set(server, { origin, weight, leaving: maintenance, definition }));
    }
    return {
      parts: known.parts,
      backends: new Map(
        [...known.backends].map(([name, { head }]) => [
          name,
          { head, servers: servers.get(name) ?? new Map() },
        ]),
      ),
      maps: { ...known.maps, ...maps },
    };
  }

  /** What HAProxy has against having a certificate put in, replaced or taken away. */
  async certificate(change: CertificateChange): Promise<string[]> {
    for (const command of certificateCommands(change, this.dir)) {
      const found = complaints(await ask(this.socket, `set severity-output number;${command}`));
      if (found.length > 0) return found;
    }
    return [];
  }
}
