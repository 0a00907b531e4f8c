import * as http from "node:http";
import type { Duplex } from "node:stream";
import type { Socket } from "node:net";

import { acceptUpgrade } from "../test/e2e/websocket";

/** An instance that answers requests, echoes on websockets and can really end. */
export class ChurnInstance {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: http.Server,
    readonly port: number,
  ) {
    server.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => socket.destroy());
    });
  }

  static start(port: number): Promise<ChurnInstance> {
    const server = http.createServer({ keepAliveTimeout: 75_000 }, (_, response) => response.end("ok"));
    server.on("upgrade", upgrade);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => {
        resolve(new ChurnInstance(server, port));
      });
    });
  }

  /** Shuts down gracefully: refuses new connections, closes idle ones and lets the others finish. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => {
        resolve();
      });
      this.server.closeIdleConnections();
    });
  }

  kill(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

function upgrade(request: http.IncomingMessage, socket: Duplex): void {
  acceptUpgrade(request, socket);
  // A real server would unmask the frame; our client accepts its own bytes.
  socket.on("data", (chunk: Buffer) => socket.write(chunk));
}

const pingIntervalMs = 200;
const echoTimeoutMs = 2_000;

/** A websocket that sends regular messages and expects an echo of each in time. */
export class OpenWebsocket {
  broken: string | undefined;
  private heard = Date.now();
  private timer: NodeJS.Timeout | undefined;
  private socket: Duplex | undefined;
  private closing = false;

  static open(port: number, path: string): Promise<OpenWebsocket> {
    const websocket = new OpenWebsocket();
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": Buffer.from("0123456789abcdef").toString("base64"),
    };
    return new Promise((resolve, reject) => {
      const request = http.request({ host: "127.0.0.1", port, path, headers });
      request.on("upgrade", (_, socket) => {
        websocket.use(socket);
        resolve(websocket);
      });
      request.on("response", ({ statusCode }) => {
        reject(new Error(`a websocket to ${path} got ${statusCode ?? 0}`));
      });
      request.on("error", reject);
      request.end();
    });
  }

  private use(socket: Duplex): void {
    this.socket = socket;
    // A text frame with the mask 0 and the text `ping`.
    const frame = Buffer.from([0x81, 0x84, 0, 0, 0, 0, ...Buffer.from("ping")]);
    socket.on("data", () => (this.heard = Date.now()));
    socket.on("error", ({ message }) => (this.broken ??= message));
    socket.on("close", () => {
      if (!this.closing) this.broken ??= "closed";
    });
    this.timer = setInterval(() => {
      if (Date.now() - this.heard > echoTimeoutMs) this.broken ??= `no echo within ${echoTimeoutMs / 1000} s`;
      if (this.broken === undefined) socket.write(frame);
    }, pingIntervalMs);
  }

  close(): void {
    this.closing = true;
    clearInterval(this.timer);
    this.socket?.destroy();
  }
}
