import * as http from "node:http";
import * as https from "node:https";

export interface Endpoint {
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** The other side answered, and said no. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    body: string,
  ) {
    super(body.trim().slice(0, 500) || `status ${status}`);
  }
}

const timeoutMs = 10_000;
const maxBody = 64 * 1024 * 1024;

/** JSON over HTTP with connections kept open: a registration must not pay for a new one. */
export class HttpClient {
  private readonly agent: http.Agent;

  constructor(private readonly endpoint: Endpoint) {
    const options = { keepAlive: true, maxSockets: 32 };
    this.agent = endpoint.tls ? new https.Agent({ ...options, ...endpoint.tls }) : new http.Agent(options);
  }

  /** Only for requests that may be repeated, as all of ours may. */
  async request(method: string, path: string, body?: unknown): Promise<Answer> {
    try {
      return await this.once(method, path, body);
    } catch (error) {
      // A kept connection may have been closed by the other side just now; that says nothing about the next one.
      if (error instanceof StaleConnection) return this.once(method, path, body);
      throw error;
    }
  }

  /** As `request`, but any answer that isn't 2xx is an error. */
  async ok(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.request(method, path, body);
    if (answer.status < 200 || answer.status > 299) throw new RefusedError(answer.status, answer.body);
    return answer;
  }

  /** A response without an end: resolves when its headers are there, on a connection of its own. */
  stream(path: string): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = this.start("GET", path, {}, false);
      request.setTimeout(timeoutMs, () => request.destroy(new Error("no answer in time")));
      request.on("error", reject);
      request.on("response", (response) => {
        request.setTimeout(0);
        if (response.statusCode === 200) resolve(response);
        else {
          response.resume();
          reject(new RefusedError(response.statusCode ?? 0, ""));
        }
      });
      request.end();
    });
  }

  private once(method: string, path: string, body: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? "" : JSON.stringify(body);
      const headers = payload
        ? { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }
        : {};
      const request = this.start(method, path, headers, this.agent);
      let answered = false;
      request.setTimeout(timeoutMs, () => request.destroy(new Error("no answer in time")));
      request.on("error", (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && !answered && ["ECONNRESET", "EPIPE"].includes(error.code ?? "");
        reject(stale ? new StaleConnection() : error);
      });
      request.on("response", (response) => {
        answered = true;
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBody) request.destroy(new Error("the answer is too long"));
          else chunks.push(chunk);
        });
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
        response.on("error", reject);
      });
      request.end(payload);
    });
  }

  private start(
    method: string,
    path: string,
    headers: http.OutgoingHttpHeaders,
    agent: http.Agent | false,
  ): http.ClientRequest {
    const { socketPath, host, port, tls } = this.endpoint;
    const own = { host: "localhost", ...headers, ...this.endpoint.headers };
    const where = socketPath
      ? { socketPath, headers: own }
      : { host, port, headers: { ...headers, ...this.endpoint.headers } };
    const options = { method, path, agent, ...where };
    return tls ? https.request({ ...options, ...(agent === false && tls) }) : http.request(options);
  }
}

class StaleConnection extends Error {}

/** An error as a part of a sentence. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ("code" in error ? String(error.code) : error.name);
}
