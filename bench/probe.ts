import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a request may take before it counts as unanswered. */
const answerTimeoutMs = 2_000;

/** The status of one request on a new connection; 0 if there was no answer. */
export function status(port: number, path: string): Promise<number> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port, noDelay: true });
    let head = "";
    const end = () => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0));
    };
    socket.setTimeout(answerTimeoutMs, end);
    socket.on("error", end);
    socket.on("close", end);
    socket.on("data", (chunk: Buffer) => {
      head += chunk.toString("latin1");
      if (head.length >= 12) end();
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  });
}

/** Polls about every millisecond for a status. Returns the time at which it came; undefined if not within `seconds`. */
export async function untilStatus(
  port: number,
  path: string,
  wished: number,
  seconds = 20,
): Promise<number | undefined> {
  const started = performance.now();
  for (;;) {
    const found = await status(port, path);
    const now = performance.now();
    if (found === wished) return now;
    if (now - started > seconds * 1000) return undefined;
    // Poll a slow contender less often, to leave it the processor.
    await sleep(now - started < 100 ? 1 : 4);
  }
}
