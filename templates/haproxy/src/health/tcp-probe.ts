/** Whether anything listens somewhere. */
import { createConnection, createServer } from "node:net";

export function listens(address: string, port: number, timeout = 500): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port });
    const answer = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(timeout, () => {
      answer(false);
    });
    socket.on("connect", () => {
      answer(true);
    });
    socket.on("error", () => {
      answer(false);
    });
  });
}

/**
 * Whether another process has this port of ours. Tried before HAProxy is asked to listen there, because one port that
 * cannot be had would make it refuse the whole configuration.
 */
export async function isTaken(port: number): Promise<boolean> {
  const bound = await new Promise<string | undefined>((resolve) => {
    const server = createServer();
    server.on("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? "EUNKNOWN");
    });
    server.listen(port, "0.0.0.0", () =>
      server.close(() => {
        resolve(undefined);
      }),
    );
  });
  if (bound === "EADDRINUSE") return true;
  // Below 1024 only HAProxy has the capability to bind; then all there is to see is whether somebody answers.
  return bound === "EACCES" && (await listens("127.0.0.1", port));
}
