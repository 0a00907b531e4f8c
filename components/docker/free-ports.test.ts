import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { freePortsProvider } from "./free-ports";

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
