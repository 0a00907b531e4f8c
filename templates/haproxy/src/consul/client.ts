/** The part of Consul's HTTP API that the watcher needs: blocking queries, bounded in time and size. */
import { readFile } from "node:fs/promises";

import { messageOf } from "../../../../lib/errors";
import { HttpClient, TooLarge, type Answer as HttpAnswer, type Endpoint } from "../../../../lib/http";
import { encodeForeign } from "../../../../lib/text";
import { decodeKv } from "./decode";
import type { ConsulAddress, ConsulOptions } from "./options";

export { TooLarge };

export interface Answer {
  readonly index: number;
  /** `null` if nothing exists under the path. */
  readonly body: unknown;
  /** How long parsing the body took. */
  readonly parsingMs: number;
  /** Consul withheld what our token may not see. Consul reports this since 1.11. */
  readonly filtered: boolean;
}

/** Consul answered, but not with what was asked for. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** There was no answer, or only part of one. */
export class Unanswered extends Error {}

/** Consul extends a wait by up to a sixteenth. A query that takes even longer than that plus this is lost. */
const slackMs = 10_000;
/**
 * Consul allows a client 200 connections, and for a while those of our previous process count as well. With more nodes
 * than this, their queries take turns.
 */
export const nodeConnections = 90;
const otherConnections = 20;
/** For a key. Somebody waits for what is read. */
const readTimeoutMs = 1_000;
const writeTimeoutMs = 5_000;

const nodeServices = "catalog/node-services/";
/** Consul, too, replaces a lone surrogate by U+FFFD. */
export const nodePath = (node: string): string => nodeServices + encodeForeign(node);
const isAboutNode = (path: string): boolean => path.startsWith(nodeServices);

interface Link {
  readonly address: ConsulAddress;
  /** For blocking queries about one node. */
  readonly nodes: HttpClient;
  /** For the few queries about all nodes and for those answered at once: they never queue. */
  readonly others: HttpClient;
}

export class Consul {
  private link: Promise<Link> | undefined;
  private next = 0;

  constructor(private readonly options: ConsulOptions) {}

  /** Answers at once for index 0; otherwise as soon as the result has a higher index, or after `waitSeconds`. */
  async query(path: string, index: number, waitSeconds: number, signal: AbortSignal): Promise<Answer> {
    const opening = (this.link ??= this.open());
    try {
      const token = await this.token();
      return await ask(await opening, path, index, waitSeconds, token, signal);
    } catch (error) {
      if (!signal.aborted) await this.failed(opening, error);
      throw error;
    }
  }

  /** The value of a key, at this moment; undefined without one. */
  async read(key: string): Promise<string | undefined> {
    const { body } = await this.query(`kv/${key}`, 0, 1, AbortSignal.timeout(readTimeoutMs));
    return decodeKv(body)[key];
  }

  /** Writes a value of KV. With `create`, only if the key does not exist. */
  async write(key: string, value: string, { create = false } = {}): Promise<void> {
    const opening = (this.link ??= this.open());
    try {
      await put(await opening, key, create ? "?cas=0" : "", value, await this.token());
    } catch (error) {
      await this.failed(opening, error);
      throw error;
    }
  }

  close(): void {
    this.link?.then(
      ({ nodes, others }) => {
        nodes.close();
        others.close();
      },
      () => undefined,
    );
  }

  /** Reads the certificate files on every reconnection, to pick up renewed ones. */
  private async open(): Promise<Link> {
    const { addresses } = this.options;
    const address = addresses[this.next % addresses.length];
    if (address === undefined) throw new Error("there is no address of Consul to ask");
    const { host, port } = address;
    const endpoint = { host, port, ...(address.tls && { tls: await this.tls() }) };
    const client = (maxSockets: number) => new HttpClient(endpoint, { maxSockets, retryStale: false });
    return { address, nodes: client(nodeConnections), others: client(otherConnections) };
  }

  private async tls(): Promise<NonNullable<Endpoint["tls"]>> {
    const { tls } = this.options;
    const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
    return {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(tls.serverName !== undefined && { servername: tls.serverName }),
      rejectUnauthorized: tls.verify,
    };
  }

  /**
   * The first query that fails moves all queries to the next address, because they must all see the same Consul. A
   * refusal is an answer. But a Consul that cannot answer, such as one without a leader, is abandoned if there is
   * another address.
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
        for (const client of [nodes, others]) {
          // Consul never closes an idle connection, and counts it against our limit.
          if (elsewhere) client.close();
          else client.retire();
        }
      },
      () => undefined,
    );
  }

  /** Read for every query, because tokens can be renewed while we run. */
  private async token(): Promise<string | undefined> {
    const { tokenFile, token } = this.options;
    const content = (await read(tokenFile))?.toString("utf8").trim();
    // Consul shows an empty catalog to whoever has no token.
    if (content === "") throw new Error(`there is no token in ${tokenFile ?? ""}`);
    return content ?? token;
  }
}

async function read(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined;
  return readFile(file).catch((error: unknown) => {
    throw new Error(`${file} cannot be read (${messageOf(error)}): mount it so that user 10001 can read it`);
  });
}

async function ask(
  { address, nodes, others }: Link,
  path: string,
  index: number,
  waitSeconds: number,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  // `stale`: the server we ask answers by itself. If it forwarded the query to a leader whose machine has just died, it
  // would wait for that leader much longer than the servers need to elect a new one.
  const query = `${path.includes("?") ? "&" : "?"}stale`;
  const blocking = index > 0 ? `&index=${index}&wait=${waitSeconds}s` : "";
  const client = index > 0 && isAboutNode(path) ? nodes : others;
  let answer: HttpAnswer;
  try {
    answer = await client.request("GET", `/v1/${path}${query}${blocking}`, {
      signal,
      timeoutMs: waitSeconds * 1000 * (1 + 1 / 16) + slackMs,
      ...(token !== undefined && { headers: { "X-Consul-Token": token } }),
    });
  } catch (error) {
    if (error instanceof TooLarge) throw error;
    const at = `${address.host}:${address.port}`;
    throw new Unanswered(`Consul at ${at} cannot be asked for ${path}: ${reason(error)}`);
  }
  return toAnswer(path, answer);
}

async function put(
  { address, others }: Link,
  key: string,
  query: string,
  text: string,
  token: string | undefined,
): Promise<void> {
  let answer: HttpAnswer;
  try {
    const path = key.split("/").map(encodeURIComponent).join("/");
    answer = await others.request("PUT", `/v1/kv/${path}${query}`, {
      text,
      timeoutMs: writeTimeoutMs,
      ...(token !== undefined && { headers: { "X-Consul-Token": token } }),
    });
  } catch (error) {
    throw new Unanswered(
      `Consul at ${address.host}:${address.port} cannot be told kv/${key}: ${reason(error)}`,
    );
  }
  const { status, body } = answer;
  if (status !== 200)
    throw new Refusal(`Consul answered ${status} to kv/${key}: ${body.trim().slice(0, 200)}`, status);
}

/** The error's message, and the cure if it is known. */
function reason(error: unknown): string {
  const message = messageOf(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code))
    return `${message}. Set CONSUL_CACERT to the file with the CA of its certificate, and CONSUL_TLS_SERVER_NAME if the certificate is for another name`;
  if (code === "EPROTO")
    return `${message}. If this port speaks plain HTTP, write http:// before its address`;
  // An agent that has no connection left for this client closes the next one at once.
  if (code === "ECONNRESET") return `${message}. ${connectionAdvice}`;
  return message;
}

function toAnswer(path: string, { status, headers, body: content }: HttpAnswer): Answer {
  // KV answers 404 for an empty prefix. That is a valid answer with an index.
  if (status !== 200 && !(status === 404 && path.startsWith("kv/")))
    throw new Refusal(`Consul answered ${status} to ${path}: ${refusal(status, content)}`, status);
  if (headers["x-consul-knownleader"] === "false") throw new Refusal("Consul has no leader", 500);
  const index = Number(headers["x-consul-index"]);
  if (!Number.isSafeInteger(index) || index < 0)
    throw new Refusal(`Consul's answer to ${path} has no index`, 502);
  const filtered = headers["x-consul-results-filtered-by-acls"] === "true";
  const start = performance.now();
  const body = status === 404 ? null : (JSON.parse(content) as unknown);
  return { index, body, parsingMs: performance.now() - start, filtered };
}

function refusal(status: number, content: string): string {
  const said = content.trim().slice(0, 200);
  if (status === 403) return `${said}. ${tokenAdvice}`;
  if (status === 400 && content.includes("HTTPS")) return `${said} Write https:// before its address`;
  if (status === 429) return `${said}. ${connectionAdvice}`;
  return said;
}

const connectionAdvice =
  "If this persists, raise limits.http_max_conns_per_client of that agent: it still counts the connections of clients that left up to a minute ago";

export const tokenAdvice =
  "Give the load balancer a token with node:read and service:read for everything and key:read for service/haproxy/, in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE";
