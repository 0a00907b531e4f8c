/** Checks whether something listens on a TCP port. */
import { createConnection, createServer } from "node:net";

/** Whether a connection to the address succeeds within `timeoutMs`. Default: 500 ms. */
export function listens(address: string, port: number, timeoutMs = 500): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port });
    const answer = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(timeoutMs, () => {
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
 * Whether another process on this machine uses the port. HAProxy rejects a whole configuration if it cannot bind one of its
 * ports, so check first.
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
  // Unlike HAProxy, we may lack the capability to bind ports below 1024. Then check whether the port answers.
  return bound === "EACCES" && (await listens("127.0.0.1", port));
}

/** An address as it is written before a port: IPv6 in brackets. */
export const bracketed = (address: string): string => (address.includes(":") ? `[${address}]` : address);

/** An address and port as in a URL. */
export const hostPort = (address: string, port: number | string): string => `${bracketed(address)}:${port}`;
