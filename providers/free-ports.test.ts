import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeEngine, type FakeEngine } from "./fake-engine";
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

it("names the port in use, its key and the cure", async () => {
  await expect(freePortsProvider.create({ ports: { httpPort: taken }, addresses })).rejects.toThrow(
    new RegExp(`Port ${taken} is taken.*127.0.0.1:${taken}.*pulumi config set httpPort`),
  );
});

it("accepts free ports and its own ports", async () => {
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

describe("a host whose URL has changed", () => {
  let here: FakeEngine;
  let there: FakeEngine;
  beforeEach(async () => {
    [here, there] = await Promise.all([fakeEngine(), fakeEngine()]);
    here.answers["GET /info"] = { ID: "this machine" };
  });
  afterEach(() => {
    here.close();
    there.close();
  });

  /** The state of a host whose port was free, before our own container took it. */
  async function recorded() {
    server.close();
    await once(server, "close");
    const inputs = { ports: { httpPort: taken }, addresses, host: here.host };
    const { outs } = await freePortsProvider.create(inputs);
    server = createServer().listen(taken, "127.0.0.1");
    await once(server, "listening");
    if (outs === undefined) throw new Error("nothing was recorded");
    return { inputs, outs };
  }

  it("is checked again if another machine answers", async () => {
    there.answers["GET /info"] = { ID: "another machine" };
    const { inputs, outs } = await recorded();
    for (const news of [
      { ...inputs, host: there.host },
      { ...inputs, addresses: ["127.0.0.1", "127.0.0.2"] },
    ])
      await expect(freePortsProvider.diff?.("free", outs, news)).resolves.toEqual({ changes: true });
    const moved = { ...inputs, host: there.host };
    await expect(freePortsProvider.update?.("free", outs, moved)).rejects.toThrow(`Port ${taken} is taken`);
    // The same URL leads to another machine, for example a new one with an old name.
    here.answers["GET /info"] = { ID: "another machine" };
    await expect(freePortsProvider.update?.("free", outs, inputs)).rejects.toThrow(`Port ${taken} is taken`);
  });

  it("keeps its ports if the same machine answers", async () => {
    there.answers["GET /info"] = { ID: "this machine" };
    const { inputs, outs } = await recorded();
    const renamed = { ...inputs, host: there.host };
    await expect(freePortsProvider.update?.("free", outs, renamed)).resolves.toMatchObject({ outs: renamed });
  });

  it("keeps its ports in a stack that has not recorded its machine", async () => {
    const { inputs, outs } = await recorded();
    for (const host of [inputs.host, undefined]) {
      const before = { ports: outs.ports, addresses, ...(host !== undefined && { host }) };
      await expect(freePortsProvider.update?.("free", before, inputs)).resolves.toMatchObject({
        outs: inputs,
      });
    }
    const elsewhere = { ports: outs.ports, addresses, host: there.host };
    await expect(freePortsProvider.update?.("free", elsewhere, inputs)).rejects.toThrow("is taken");
  });
});

it("reads listeners from the kernel's table of a machine behind SSH", () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0102630A:0050 0202630A:CDEF 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 0000000000000000FFFF00000102630A:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
`;
  expect([...listenersIn(table)]).toEqual(["127.0.0.1:8080", "0.0.0.0:22", "10.99.2.1:53"]);
});
