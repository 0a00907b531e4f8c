import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as http from "node:http";
import type { ClientHttp2Session, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { connect, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";

// The part of RFC 6455 that shows whether a connection stays open: short text frames, echoed behind the service's name.

const accept = (key: string) =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** Answers an upgrade request: from here on, the socket is a websocket. */
export function acceptUpgrade({ headers }: http.IncomingMessage, socket: Duplex): void {
  const key = accept(headers["sec-websocket-key"] ?? "");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
  );
  socket.on("error", () => undefined);
}

function frame(text: string, mask?: Buffer): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.from([0x81, body.length | (mask === undefined ? 0 : 0x80)]);
  if (mask === undefined) return Buffer.concat([head, body]);
  return Buffer.concat([head, mask, body.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

function unframe(data: Buffer): string {
  const length = (data[1] ?? 0) & 0x7f;
  if (((data[1] ?? 0) & 0x80) === 0) return data.subarray(2, 2 + length).toString();
  const mask = data.subarray(2, 6);
  return Buffer.from(
    data.subarray(6, 6 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0)),
  ).toString();
}

/** A service that answers requests with its name and echoes messages on websockets. */
export class WebSocketService {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: http.Server,
    readonly port: number,
  ) {}

  static async start(name: string): Promise<WebSocketService> {
    const server = http.createServer((_, response) => response.end(name));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const service = new WebSocketService(server, (server.address() as AddressInfo).port);
    server.on("upgrade", (request, socket: Socket) => {
      service.sockets.add(socket);
      acceptUpgrade(request, socket);
      socket.on("data", (data: Buffer) => socket.write(frame(`${name}: ${unframe(data)}`)));
    });
    return service;
  }

  stop(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.closeAllConnections();
    this.server.close();
  }
}

export class WebSocketClient {
  private constructor(private readonly socket: Duplex) {}

  /** Opens a websocket in an HTTP/2 stream, as described in RFC 8441. */
  static async openIn(session: ClientHttp2Session, path: string): Promise<WebSocketClient> {
    if (!session.remoteSettings.enableConnectProtocol) await once(session, "remoteSettings");
    const stream = session.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "https",
      ":authority": "localhost",
      ":path": path,
      "sec-websocket-version": "13",
    });
    const [head] = (await once(stream, "response")) as [IncomingHttpHeaders & IncomingHttpStatusHeader];
    if (head[":status"] !== 200) throw new Error(`not connected: ${JSON.stringify(head)}`);
    return new WebSocketClient(stream);
  }

  static async open(port: number, path: string): Promise<WebSocketClient> {
    const socket = connect(port, "127.0.0.1");
    const key = randomBytes(16).toString("base64");
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const [answer] = (await once(socket, "data")) as [Buffer];
    const head = answer.toString();
    if (!head.startsWith("HTTP/1.1 101 ") || !head.includes(accept(key)))
      throw new Error(`not upgraded: ${head}`);
    return new WebSocketClient(socket);
  }

  /** Sends a message and returns the reply, or the reason why none came. */
  async echo(text: string): Promise<string> {
    if (this.socket.destroyed || this.socket.readableEnded) return "closed";
    const answer = Promise.race([
      once(this.socket, "data").then(([data]) => unframe(data as Buffer)),
      once(this.socket, "end").then(() => "closed"),
    ]).catch((error: unknown) => String(error));
    this.socket.write(frame(text, randomBytes(4)));
    return answer;
  }

  close(): void {
    this.socket.destroy();
  }
}
