/**
 * One load balancer takes over from another on the same network and with the same state, as when its container is replaced.
 * The successor asks over a unix socket. The predecessor ends its renderer and says where its HAProxy is, which serves until the
 * successor's has taken its listening sockets. A predecessor that loses its successor before that goes on as before.
 */
import { createConnection, createServer } from "node:net";
import { chmodSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Inherited } from "../haproxy/process";

/** How long a predecessor may take to answer. */
const answerTimeoutMs = 30_000;

export interface Predecessor {
  readonly haproxy: Inherited;
  /** Tells it that its listening sockets have been taken. */
  readonly release: () => void;
  /** Settles when it has ended. */
  readonly gone: Promise<void>;
}

/** Asks the load balancer behind a socket to hand over; undefined if there is none. */
export function takeOver(path: string): Promise<Predecessor | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path).setEncoding("utf8").setTimeout(answerTimeoutMs);
    const gone = new Promise<void>((ended) => {
      socket.on("close", () => {
        ended();
        // Nobody listens, or the one that does has ended or is frozen.
        resolve(undefined);
      });
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => undefined);
    let answer = "";
    socket.on("data", (data: string) => {
      answer += data;
      if (!answer.endsWith("\n")) return;
      socket.setTimeout(0);
      const { ports, ...sockets } = JSON.parse(answer) as Message;
      const haproxy = { ...sockets, ports: new Set(ports) };
      resolve({ haproxy, release: () => socket.end("released\n"), gone });
    });
  });
}

/** What a predecessor answers, as a line of JSON. */
interface Message extends Omit<Inherited, "ports"> {
  readonly ports: readonly number[];
}

export interface Heir {
  /** A successor asks: frees what the successor needs, and says what it inherits. */
  readonly handOver: () => Promise<Inherited>;
  /** The successor has the listening sockets. */
  readonly released: () => void;
  /** The successor is gone and does not have them. */
  readonly abandoned: () => void;
}

/** Waits for one successor. */
export async function awaitSuccessor(path: string, { handOver, released, abandoned }: Heir): Promise<void> {
  // What a load balancer that was killed has left.
  await rm(path, { force: true });
  const server = createServer().once("connection", (socket) => {
    // Now, because this removes the path, at which the successor will listen.
    server.close();
    socket.on("error", () => undefined);
    let isReleased = false;
    socket.once("data", () => {
      isReleased = true;
      released();
    });
    const handedOver = handOver().then((inherited) => {
      const message: Message = { ...inherited, ports: [...inherited.ports] };
      socket.write(`${JSON.stringify(message)}\n`);
    });
    socket.on("close", () => {
      if (!isReleased) void handedOver.then(abandoned);
    });
  });
  server.on("error", () => undefined);
  server.listen(path, () => {
    chmodSync(path, 0o600);
  });
}
