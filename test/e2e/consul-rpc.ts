import { connect, type Socket } from "node:net";
import * as tls from "node:tls";

/** The first byte of a connection to a Consul server says what follows. */
const RPC = Buffer.of(0);
const TLS = Buffer.of(3);

const text = (value: string): Buffer => Buffer.concat([Buffer.of(0xa0 + value.length), Buffer.from(value)]);

/** A call of `Status.Ping` without arguments, in MessagePack, which needs no token. */
const ping = Buffer.concat([
  ...[Buffer.of(0x82), text("ServiceMethod"), text("Status.Ping"), text("Seq"), Buffer.of(0)],
  Buffer.of(0x80),
]);

/** Calls a Consul server as another agent would, over TLS if there are options for it. */
export function callConsul(host: string, options?: tls.ConnectionOptions): Promise<"answered" | "refused"> {
  return new Promise((resolve, reject) => {
    const plain = connect(8300, host);
    let stream: Socket = plain;
    if (options !== undefined) {
      plain.write(TLS);
      stream = tls.connect({ socket: plain, servername: "server.dc1.consul", ...options });
    }
    plain.once("error", reject);
    plain.once("connect", () => {
      plain.removeListener("error", reject);
      for (const each of new Set([plain, stream]))
        for (const event of ["error", "close"])
          each.on(event, () => {
            resolve("refused");
          });
      stream.write(Buffer.concat([RPC, ping]));
    });
    stream.once("data", () => {
      resolve("answered");
      plain.destroy();
    });
  });
}
