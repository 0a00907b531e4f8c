import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { freePortsProvider, listenersIn } from "./free-ports";

let server: Server;
let taken: number;

beforeEach(async () => {
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  taken = (server.address() as AddressInfo).port;
});
afterEach(() => {
  server.close();
});

const addresses = ["127.0.0.1"];

it("names the port that is taken, its key and the cure", async () => {
  await expect(freePortsProvider.create({ ports: { httpPort: taken }, addresses })).rejects.toThrow(
    new RegExp(`Port ${taken} is taken.*127.0.0.1:${taken}.*pulumi config set httpPort`),
  );
});

it("takes a free port, and keeps what is its own", async () => {
  server.close();
  await once(server, "close");
  const olds = { ports: { httpPort: taken }, addresses };
  await expect(freePortsProvider.create(olds)).resolves.toMatchObject({ outs: olds });

  server = createServer().listen(taken, "127.0.0.1");
  await once(server, "listening");
  const news = { ports: { httpPort: taken, statsPort: 1 }, addresses };
  await expect(freePortsProvider.diff?.("free", olds, news)).resolves.toEqual({ changes: true });
  await expect(freePortsProvider.diff?.("free", olds, olds)).resolves.toEqual({ changes: false });
  await expect(freePortsProvider.update?.("free", olds, news)).resolves.toMatchObject({ outs: news });
});

it("reads the kernel's table of what listens, on a machine behind ssh", () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0102630A:0050 0202630A:CDEF 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 0000000000000000FFFF00000102630A:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
`;
  expect([...listenersIn(table)]).toEqual(["127.0.0.1:8080", "0.0.0.0:22", "10.99.2.1:53"]);
});
