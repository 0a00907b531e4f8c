/** A question to one of HAProxy's sockets and the whole answer. */
import { createConnection } from "node:net";

const maxAnswer = 64 * 1024 * 1024;

export function ask(path: string, question: string, timeout = 10_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const line = `${question}\n`;
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = createConnection(path);
    const fail = (reason: string) => {
      socket.destroy();
      reject(new Error(`HAProxy's socket ${path} ${reason}`));
    };
    const timer = setTimeout(() => {
      fail(`gave no answer within ${timeout} ms`);
    }, timeout);
    // The master's socket closes only after we have: without an end it would wait for the next question.
    socket.on("connect", () => (path.endsWith("/master.sock") ? socket.end(line) : socket.write(line)));
    socket.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxAnswer) fail("answered with more than 64 MiB");
      else chunks.push(chunk);
    });
    socket.on("error", (error: Error) => {
      clearTimeout(timer);
      fail(`cannot be used: ${error.message}`);
    });
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}
