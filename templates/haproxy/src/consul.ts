/** Consul's HTTP API as far as watching needs it: blocking queries, bounded in time and size. */
import { Agent, request } from "node:http";

export interface Answer {
  readonly index: number;
  /** `undefined`: there is nothing under that path. */
  readonly body: unknown;
}

const maxBody = 128 * 1024 * 1024;
/** Consul adds up to a sixteenth to the wait; what takes longer than this is lost. */
const slack = 10_000;

export class Consul {
  private readonly agent = new Agent({ keepAlive: true });

  constructor(
    private readonly host: string,
    private readonly port: number,
    private readonly token: string | undefined,
  ) {}

  /** Answers at once for index 0, else when something has changed since, or after `wait` seconds. */
  query(path: string, index: number, wait: number, signal: AbortSignal): Promise<Answer> {
    const separator = path.includes("?") ? "&" : "?";
    const blocking = index > 0 ? `${separator}index=${index}&wait=${wait}s` : "";
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: this.host,
          port: this.port,
          path: `/v1/${path}${blocking}`,
          agent: this.agent,
          signal,
          headers: this.token === undefined ? {} : { "X-Consul-Token": this.token },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > maxBody) sent.destroy(new Error(`Consul's answer to ${path} is larger than 128 MiB`));
            else chunks.push(chunk);
          });
          response.on("error", reject);
          response.on("end", () => {
            const content = Buffer.concat(chunks).toString("utf8");
            const status = response.statusCode ?? 0;
            try {
              resolve(toAnswer(path, status, response.headers, content));
            } catch (error) {
              reject(error instanceof Error ? error : new Error(String(error)));
            }
          });
        },
      );
      const limit = wait * 1000 + (wait * 1000) / 16 + slack;
      sent.setTimeout(limit, () => sent.destroy(new Error(`Consul gave no answer to ${path}`)));
      sent.on("error", reject);
      sent.end();
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

function toAnswer(
  path: string,
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  content: string,
): Answer {
  // KV answers 404 for an empty prefix; that is an answer, and it has an index.
  if (status !== 200 && !(status === 404 && path.startsWith("kv/")))
    throw new Error(`Consul answered ${status} to ${path}: ${content.slice(0, 200)}`);
  if (headers["x-consul-knownleader"] === "false") throw new Error("Consul has no leader");
  const index = Number(headers["x-consul-index"]);
  if (!Number.isSafeInteger(index) || index < 0) throw new Error(`Consul's answer to ${path} has no index`);
  return { index, body: status === 404 ? null : (JSON.parse(content) as unknown) };
}
