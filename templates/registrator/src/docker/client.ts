import type { IncomingMessage } from "node:http";
import { HttpClient, type Endpoint } from "../../../../lib/http";
import type { Inspect } from "../types";

export interface ContainerEvent {
  readonly id: string;
  readonly action: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** By the engine's clock, in milliseconds since 1970. */
  readonly atMs: number;
  /** How long ago it happened, if it happened before the connection; otherwise 0. */
  readonly ageMs: number;
}

/** A container in Docker's list; `signature` is cheap to get and changes whenever an inspection would differ. */
export interface Listed {
  readonly id: string;
  readonly name: string;
  readonly signature: string;
}

/** The newest API version these requests support. Versions down to 1.41 are tested and behave the same. */
const newest = "1.52";

const actions = [
  "start",
  "kill",
  "stop",
  "die",
  "destroy",
  "pause",
  "unpause",
  "rename",
  "health_status",
  // Of networks: a container's published ports change with them.
  "connect",
  "disconnect",
] as const;

/** The engine remembers its last 256 events, whatever their age. */
const pastSeconds = 3_600;

export class Docker {
  private readonly http: HttpClient;
  private base = "";
  /** The engine's clock when it was last connected to. */
  private connectedAtMs = Date.now();
  /** The newest event so far. */
  private lastEventMs = 0;

  constructor(endpoint: Endpoint) {
    this.http = new HttpClient(endpoint);
  }

  /** Negotiates the API version. Call it on every reconnection: the engine may have been upgraded. */
  async connect(): Promise<string> {
    const { body, headers } = await this.http.ok("GET", "/version");
    this.connectedAtMs = Date.parse(headers.date ?? "") || Date.now();
    const answer = JSON.parse(body) as { ApiVersion?: string; MinAPIVersion?: string; Version?: string };
    const version = agreeOn(answer.ApiVersion, answer.MinAPIVersion);
    this.base = version && `/v${version}`;
    return `${answer.Version ?? "of an unknown version"}, API ${version}`;
  }

  /** Undefined if there is no such container. */
  async inspect(id: string): Promise<Inspect | undefined> {
    const path = `${this.base}/containers/${encodeURIComponent(id)}/json`;
    const answer = await this.http.request("GET", path);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`Docker answered ${answer.status} to inspect`);
    return JSON.parse(answer.body) as Inspect;
  }

  /** The running and paused containers. */
  async list(): Promise<Listed[]> {
    const { body } = await this.http.ok("GET", `${this.base}/containers/json`);
    const answer: unknown = JSON.parse(body);
    if (!Array.isArray(answer)) throw new Error("Docker's list of containers is not a list");
    return (answer as ListItem[]).map(listedOf);
  }

  /**
   * Passes on the events before the connection that the engine remembers, then resolves once it has started the stream: no
   * event is missed, such as the stop signal of a container that is still finishing its requests.
   */
  async events(listener: (event: ContainerEvent) => void): Promise<{ closed: Promise<void> }> {
    const filters = encodeURIComponent(JSON.stringify({ type: ["container", "network"], event: actions }));
    const now = Math.floor(this.connectedAtMs / 1000);
    const path = `${this.base}/events?filters=${filters}`;
    const past = await this.http.ok("GET", `${path}&since=${now - pastSeconds}&until=${now}`);
    const seenMs = this.lastEventMs;
    const pass = (event: ContainerEvent) => {
      this.lastEventMs = Math.max(this.lastEventMs, event.atMs);
      listener(event);
    };
    for (const line of past.body.split("\n")) {
      const event = eventOf(line);
      if (event && event.atMs > seenMs)
        pass({ ...event, ageMs: Math.max(0, this.connectedAtMs - event.atMs) });
    }
    const response = await this.http.stream(`${path}&since=${now}`);
    return { closed: readLines(response, pass) };
  }
}

/** The API version to use with an engine that offers versions from `oldest` to `offered`. */
export function agreeOn(offered: string | undefined, oldest: string | undefined): string {
  if (!offered) return "";
  const version = compare(offered, newest) < 0 ? offered : newest;
  return oldest && compare(version, oldest) < 0 ? oldest : version;
}

function compare(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split(".").map(Number);
  const [majorB = 0, minorB = 0] = b.split(".").map(Number);
  return majorA - majorB || minorA - minorB;
}

interface ListItem {
  readonly Id: string;
  readonly Names?: readonly string[] | null;
  readonly State?: string;
  readonly Status?: string;
  readonly Ports?: readonly Readonly<Record<string, unknown>>[] | null;
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, { IPAddress?: string } | null>> };
}

function listedOf(item: ListItem): Listed {
  // A linked container has additional names, such as /other/alias.
  const name = item.Names?.find((each) => !each.slice(1).includes("/"))?.slice(1) ?? "";
  const health = /\((healthy|unhealthy|health: starting)\)/.exec(item.Status ?? "")?.[1];
  const ports = (item.Ports ?? []).map((port) => JSON.stringify(port)).sort();
  const networks = Object.entries(item.NetworkSettings?.Networks ?? {}).map(([key, value]) => [
    key,
    value?.IPAddress,
  ]);
  return { id: item.Id, name, signature: JSON.stringify([name, item.State, health, ports, networks.sort()]) };
}

async function readLines(
  response: IncomingMessage,
  listener: (event: ContainerEvent) => void,
): Promise<void> {
  let rest = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = eventOf(line);
        if (event) listener(event);
      }
    }
  } catch {
    // A broken stream is handled like one that ended: the caller reconnects.
  }
}

/** Reads only `Type`, `Action` and `Actor`: API 1.52 removed `status` and `id`. */
export function eventOf(line: string): ContainerEvent | undefined {
  if (line.trim() === "") return undefined;
  const event = parsed(line) as
    | {
        Type?: string;
        Action?: string;
        Actor?: { ID?: string; Attributes?: Record<string, string> | null };
        timeNano?: number;
      }
    | undefined;
  if (!event?.Action || !event.Actor?.ID) return undefined;
  const { Action: action, timeNano } = event;
  const attributes = event.Actor.Attributes ?? {};
  // The actor of a network's event is the network.
  const id = event.Type === "network" ? attributes.container : event.Actor.ID;
  const atMs = timeNano === undefined ? Date.now() : timeNano / 1e6;
  return id ? { id, action, attributes, atMs, ageMs: 0 } : undefined;
}

function parsed(line: string): unknown {
  try {
    // Newer engines can send JSON text sequences, in which this separator starts each record.
    return JSON.parse(line.replace("\u001e", ""));
  } catch {
    return undefined;
  }
}
