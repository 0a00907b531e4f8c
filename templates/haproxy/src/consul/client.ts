/** Consul's HTTP API as far as watching needs it: blocking queries, bounded in time and size. */
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import type { ConsulAddress, ConsulOptions } from "./options";

export interface Answer {
  readonly index: number;
  /** `null`: there is nothing under that path. */
  readonly body: unknown;
  /** Milliseconds that reading it took. */
  readonly parsing: number;
  /** Consul has left out what our token may not see. Consul says so since 1.11. */
  readonly filtered: boolean;
}

/** Consul has answered, and not with what was asked for. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** There was no answer, or not all of it. */
export class Unanswered extends Error {}

/** It was more than is read. */
export class TooLarge extends Error {}

/** 60,000 services of a node, or 10,000 checks that are not passing, each with the 4 KiB that Consul keeps of what it says. */
const maxBody = 64 * 1024 * 1024;
/** Consul adds up to a sixteenth to the wait; what takes longer than this is lost. */
const slack = 10_000;
/** Milliseconds, then one a second for ten: a Consul whose machine is gone, or the way to it, is noticed by TCP. */
const keepAlive = 5_000;
/**
 * Consul lets a client have 200 in all, among them for a while those of the process before this one. Where there are more
 * nodes, their queries take turns.
 */
export const nodeConnections = 90;
const otherConnections = 20;

const nodeServices = "catalog/node-services/";
/** Half a character cannot be encoded; Consul itself puts U+FFFD in its place. */
export const nodePath = (node: string): string =>
  nodeServices + encodeURIComponent(node.replaceAll(/\p{Cs}/gu, "\ufffd"));
const isAboutNode = (path: string): boolean => path.startsWith(nodeServices);

interface Link {
  readonly address: ConsulAddress;
  /** For queries that wait for a change of one node. */
  readonly nodes: http.Agent;
  /** For the few that concern all nodes and for those that are answered at once: they never wait for a turn. */
  readonly others: http.Agent;
}

export class Consul {
  private link: Promise<Link> | undefined;
  private next = 0;

  constructor(private readonly options: ConsulOptions) {}

  /** Answers at once for index 0, else when something has changed since, or after `wait` seconds. */
  async query(path: string, index: number, wait: number, signal: AbortSignal): Promise<Answer> {
    const opening = (this.link ??= this.open());
    try {
      const token = await this.token();
      return await ask(await opening, path, index, wait, token, signal);
    } catch (error) {
      if (!signal.aborted) await this.failed(opening, error);
      throw error;
    }
  }

  close(): void {
    this.link?.then(
      ({ nodes, others }) => {
        for (const agent of [nodes, others]) {
          retire(agent);
          agent.destroy();
        }
      },
      () => undefined,
    );
  }

  /** Files are read when a connection is made anew, so that renewed certificates are found. */
  private async open(): Promise<Link> {
    const { addresses } = this.options;
    const address = addresses[this.next % addresses.length];
    if (address === undefined) throw new Error("there is no address of Consul to ask");
    const secure = address.tls ? await this.secure() : undefined;
    const agent = (maxSockets: number): http.Agent => {
      const keep = { keepAlive: true, maxSockets };
      return secure === undefined ? new http.Agent(keep) : new https.Agent({ ...keep, ...secure });
    };
    return { address, nodes: agent(nodeConnections), others: agent(otherConnections) };
  }

  private async secure(): Promise<https.AgentOptions> {
    const { tls } = this.options;
    const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
      rejectUnauthorized: tls.verify,
    };
  }

  /**
   * The first query that fails takes all to the next address: they should see one Consul. A refusal is an answer, but a
   * Consul that cannot answer, as one without a leader, is left where there is another.
   */
  private async failed(opening: Promise<Link>, error: unknown): Promise<void> {
    const elsewhere = this.options.addresses.length > 1;
    const answered =
      error instanceof TooLarge || (error instanceof Refusal && (error.status < 500 || !elsewhere));
    if (this.link !== opening || answered) return;
    this.link = undefined;
    if (elsewhere) this.next++;
    await opening.then(
      ({ nodes, others }) => {
        for (const agent of [nodes, others]) {
          retire(agent);
          if (elsewhere) agent.destroy();
        }
      },
      () => undefined,
    );
  }

  /** Read for every query, since tokens are renewed while we run. */
  private async token(): Promise<string | undefined> {
    return (await read(this.options.tokenFile))?.toString("utf8").trim() ?? this.options.token;
  }
}

/**
 * Queries under way may end, and their connections end with them. Consul never closes one that is kept, and counts it
 * until there are too many.
 */
function retire(agent: http.Agent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
}

async function read(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  return readFile(file).catch((error: unknown) => {
    throw new Error(
      `${file} cannot be read (${error instanceof Error ? error.message : String(error)}): mount it so that user 10001 may read it`,
    );
  });
}

function ask(
  { address, nodes, others }: Link,
  path: string,
  index: number,
  wait: number,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  const at = `${address.host}:${address.port}`;
  // Answered by the server that is asked: one that passed it on to a leader on a node that has just died would wait
  // for that one's answer much longer than the servers take to elect another.
  const query = `${path.includes("?") ? "&" : "?"}stale`;
  const blocking = index > 0 ? `&index=${index}&wait=${wait}s` : "";
  const limit = wait * 1000 + (wait * 1000) / 16 + slack;
  return new Promise((resolve, reject) => {
    const sent = (address.tls ? https : http).request({
      host: address.host,
      port: address.port,
      path: `/v1/${path}${query}${blocking}`,
      agent: index > 0 && isAboutNode(path) ? nodes : others,
      signal,
      headers: token === undefined ? {} : { "X-Consul-Token": token },
    });
    sent.setSocketKeepAlive(true, keepAlive);
    let timer: NodeJS.Timeout | undefined;
    const end = (action: () => void) => {
      clearTimeout(timer);
      action();
    };
    const fail = (error: unknown) => {
      end(() => {
        if (error instanceof TooLarge) reject(error);
        else reject(new Unanswered(`Consul at ${at} cannot be asked for ${path}: ${reason(error)}`));
      });
    };
    // With a connection in hand: there may be more nodes than connections, and then queries wait for their turn.
    sent.on("socket", () => {
      timer ??= setTimeout(() => sent.destroy(new Error("it gave no whole answer in time")), limit);
    });
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBody) sent.destroy(new TooLarge("an answer of more than 64 MiB"));
        else chunks.push(chunk);
      });
      response.on("error", fail);
      response.on("end", () => {
        end(() => {
          try {
            const content = Buffer.concat(chunks).toString("utf8");
            resolve(toAnswer(path, response.statusCode ?? 0, response.headers, content));
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
    });
    sent.on("error", fail);
    sent.end();
  });
}

/** With what helps, where that is known. */
function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
    return `${message}. Set CONSUL_CACERT to the file with the authority of its certificate, CONSUL_TLS_SERVER_NAME if it is for another name`;
  if (code === "EPROTO")
    return `${message}. If this port speaks plain HTTP, write http:// before its address`;
  // An agent that has no connection left for this client closes the next one at once.
  if (code === "ECONNRESET") return `${message}. ${connectionAdvice}`;
  return message === "" ? code : message;
}

function toAnswer(path: string, status: number, headers: http.IncomingHttpHeaders, content: string): Answer {
  // KV answers 404 for an empty prefix; that is an answer, and it has an index.
  if (status !== 200 && !(status === 404 && path.startsWith("kv/")))
    throw new Refusal(`Consul answered ${status} to ${path}: ${refusal(status, content)}`, status);
  if (headers["x-consul-knownleader"] === "false") throw new Refusal("Consul has no leader", 500);
  const index = Number(headers["x-consul-index"]);
  if (!Number.isSafeInteger(index) || index < 0)
    throw new Refusal(`Consul's answer to ${path} has no index`, 502);
  const filtered = headers["x-consul-results-filtered-by-acls"] === "true";
  const start = performance.now();
  const body = status === 404 ? null : (JSON.parse(content) as unknown);
  return { index, body, parsing: performance.now() - start, filtered };
}

function refusal(status: number, content: string): string {
  const said = content.trim().slice(0, 200);
  if (status === 403) return `${said}. ${tokenAdvice}`;
  if (status === 400 && content.includes("HTTPS")) return `${said} Write https:// before its address`;
  if (status === 429) return `${said}. ${connectionAdvice}`;
  return said;
}

const connectionAdvice =
  "Should it say so again, raise limits.http_max_conns_per_client of that agent, which counts the connections of clients that are gone for another minute";

export const tokenAdvice =
  "Give the load balancer a token with node:read and service:read for everything and key:read for service/haproxy/, in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE";
