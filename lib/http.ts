/** HTTP client with keep-alive connections. Every exchange is limited in time and size. */
import * as http from "node:http";
import * as https from "node:https";

export interface Endpoint {
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  /** Use HTTPS with these options. */
  readonly tls?: Pick<https.AgentOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ClientOptions {
  /** Maximum number of connections; further requests wait. Default: 32. */
  readonly maxSockets?: number;
  /**
   * Whether to retry a request once if the server closed its keep-alive connection before answering. Only for requests that
   * are safe to repeat. Default: true.
   */
  readonly retryStale?: boolean;
}

export interface RequestOptions {
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Limit for the whole exchange, without the wait for a connection. Default: 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** The server answered with a status other than 2xx. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    body: string,
  ) {
    super(body.trim().slice(0, 500) || `status ${status}`);
  }
}

/** The answer is larger than the client accepts. */
export class TooLarge extends Error {}

const maxBodyMiB = 64;
/** Idle time before the first TCP keepalive probe. The system then probes once a second, and detects a dead peer in 15 s. */
const probeAfterMs = 5_000;

export class HttpClient {
  private readonly agent: http.Agent;
  private readonly retryStale: boolean;

  constructor(
    private readonly endpoint: Endpoint,
    { maxSockets = 32, retryStale = true }: ClientOptions = {},
  ) {
    const options = { keepAlive: true, maxSockets };
    this.agent = endpoint.tls ? new https.Agent({ ...options, ...endpoint.tls }) : new http.Agent(options);
    this.retryStale = retryStale;
  }

  request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    return this.send(method, path, options, async (response) => ({
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: await read(response),
    }));
  }

  /** Like `request`, but throws a RefusedError unless the status is 2xx. */
  async ok(method: string, path: string, options?: RequestOptions): Promise<Answer> {
    const answer = await this.request(method, path, options);
    if (answer.status < 200 || answer.status > 299) throw new RefusedError(answer.status, answer.body);
    return answer;
  }

  /** Requests an endless response. Resolves once the headers have arrived; there is no time limit from then on. */
  stream(path: string): Promise<http.IncomingMessage> {
    return this.send("GET", path, {}, (response) => {
      if (response.statusCode === 200) return response;
      response.resume();
      throw new RefusedError(response.statusCode ?? 0, "");
    });
  }

  /** Closes idle connections now, and the others after their current exchange. */
  retire(): void {
    this.agent.maxFreeSockets = 0;
    for (const sockets of Object.values(this.agent.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }

  /** Closes all connections. Exchanges in progress fail. */
  close(): void {
    this.retire();
    this.agent.destroy();
  }

  /** The timeout starts when a connection is assigned and covers everything until `use` settles. */
  private send<T>(
    method: string,
    path: string,
    options: RequestOptions,
    use: (response: http.IncomingMessage) => T | Promise<T>,
    retryStale = this.retryStale,
  ): Promise<T> {
    const { tls, headers: common, ...where } = this.endpoint;
    const { body, text, headers, timeoutMs = 10_000, signal } = options;
    let timer: NodeJS.Timeout | undefined;
    return new Promise<T>((resolve, reject) => {
      const request = (tls ? https : http).request({
        ...where,
        method,
        path,
        agent: this.agent,
        headers: { ...common, ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
        ...(signal && { signal }),
      });
      request.setSocketKeepAlive(true, probeAfterMs);
      request.on("socket", () => {
        timer ??= setTimeout(() => request.destroy(new Error("no complete answer in time")), timeoutMs);
      });
      let answered = false;
      request.on("error", (error: NodeJS.ErrnoException) => {
        const wasClosed = request.reusedSocket && ["ECONNRESET", "EPIPE"].includes(error.code ?? "");
        if (wasClosed && !answered && retryStale) resolve(this.send(method, path, options, use, false));
        else reject(error);
      });
      request.on("response", (response) => {
        answered = true;
        // A `use` that throws must reject as well.
        Promise.resolve(response).then(use).then(resolve, reject);
      });
      request.end(text ?? (body === undefined ? undefined : JSON.stringify(body)));
    }).finally(() => {
      clearTimeout(timer);
    });
  }
}

async function read(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyMiB * 1024 * 1024) throw new TooLarge(`an answer of more than ${maxBodyMiB} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
