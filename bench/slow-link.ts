import { createConnection, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy that stands in for a link: what it gets, it passes on after `delayMs`, in both directions. */
export class SlowLink {
  delayMs = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  /** Listens on all addresses. */
  static start(port: number, target: { readonly host: string; readonly port: number }): Promise<SlowLink> {
    const server = createServer();
    const link = new SlowLink(server);
    server.on("connection", (client) => {
      const far = createConnection(target);
      link.pass(client, far);
      link.pass(far, client);
    });
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, () => {
        resolve(link);
      });
    });
  }

  private pass(from: Socket, to: Socket): void {
    this.sockets.add(from);
    const later = (what: () => void) => {
      if (this.delayMs === 0) what();
      else setTimeout(what, this.delayMs);
    };
    from.on("data", (chunk) => {
      later(() => to.write(chunk));
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.sockets.delete(from);
      later(() => to.destroy());
    });
  }

  stop(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
