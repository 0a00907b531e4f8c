import * as http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What a request got; status 0 where there was no answer at all. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** One request; never throws, since a test asks what a user would see. */
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

/** Asks until the answer is as wished; the last answer where it is not within `seconds`. */
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

/** What constant requests met. */
export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** Every answer that was not 200: status or error, with how often. */
  readonly failures: Readonly<Record<string, number>>;
}

/** Starts constant requests, `perSecond` over kept-alive connections; `stop` ends them and tells. */
export function startLoad(
  url: string,
  { perSecond = 600, connections = 16 } = {},
): { stop(): Promise<LoadResult> } {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const failures: Record<string, number> = {};
  const started = Date.now();
  let requests = 0;
  let running = true;

  const worker = async (offset: number): Promise<void> => {
    const pause = (1000 / perSecond) * connections;
    let due = started + (pause / connections) * offset;
    while (running) {
      const wait = due - Date.now();
      if (wait > 0) await sleep(wait);
      due += pause;
      const { status, body } = await get(url, { agent });
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
