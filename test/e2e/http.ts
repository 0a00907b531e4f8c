import * as http from "node:http";
import * as https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

/** The answer to a request; status 0 if there was none. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** Sends one request. Never throws: no answer is a result as well. */
export function get(url: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const request = http.request(url, { timeout: 10_000, ...options }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers });
      });
      response.on("error", failed);
    });
    function failed(error: Error): void {
      resolve({ status: 0, body: error.message, headers: {} });
    }
    request.on("timeout", () => request.destroy(new Error("no answer in 10 s")));
    request.on("error", failed);
    request.end();
  });
}

/** The status of an HTTPS request on a connection of its own, whatever the certificate; 0 without an answer. */
export function secureStatus(port: number, path: string, servername = "localhost"): Promise<number> {
  return new Promise((resolve) => {
    const options = { port, path, servername, rejectUnauthorized: false, agent: false };
    https
      .get(options, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
      .on("error", () => {
        resolve(0);
      });
  });
}

/** Repeats a request until the answer is as wished, for at most `seconds`. Returns the last answer. */
export async function until(
  url: string,
  wished: (answer: Answer) => boolean,
  { seconds = 30 } = {},
): Promise<Answer> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await get(url);
    if (wished(answer) || Date.now() > end) return answer;
    await sleep(20);
  }
}

/** The result of constant load. */
export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** How often each answer other than 200 came, by status and body or error. */
  readonly failures: Readonly<Record<string, number>>;
}

/** Sends `perSecond` requests over kept-alive connections until `stop`, which returns the result. */
export function startLoad(
  url: string,
  { perSecond = 600, connections = 16, timeoutMs = 10_000 } = {},
): { stop(): Promise<LoadResult> } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const failures: Record<string, number> = {};
  const started = Date.now();
  let requests = 0;
  let running = true;

  const worker = async (offset: number): Promise<void> => {
    const intervalMs = (1000 / perSecond) * connections;
    let due = started + (intervalMs / connections) * offset;
    while (running) {
      const waitMs = due - Date.now();
      if (waitMs > 0) await sleep(waitMs);
      due += intervalMs;
      const { status, body } = await get(url, { agent, timeout: timeoutMs });
      requests++;
      if (status !== 200) {
        const what = `${status} ${body.slice(0, 80)}`;
        failures[what] = (failures[what] ?? 0) + 1;
      }
    }
  };
  const workers = Array.from({ length: connections }, (_, index) => worker(index));
  return {
    async stop() {
      running = false;
      await Promise.all(workers);
      agent.destroy();
      return { requests, perSecond: Math.round((requests * 1000) / (Date.now() - started)), failures };
    },
  };
}
