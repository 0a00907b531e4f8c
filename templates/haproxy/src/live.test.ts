import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { buildRouting } from "../../../model/routes";
import { askLive, checksOf, decodeLive } from "./live";
import { instance } from "./testing";

const body = {
  services: [
    {
      name: "a",
      instances: [
        { address: "10.0.0.1:1", state: "up" },
        { address: "10.0.0.1:2", state: "down", check: "refuses connections" },
        { address: "10.0.0.1:3", state: "starting" },
        { address: "10.0.0.1:4", state: "leaving" },
        { address: "10.0.0.1:5", state: "down", check: "\u001b[2J" },
      ],
    },
  ],
  held: [{}, {}],
};

test("what is said of instances is read, and nothing that a terminal would obey", () => {
  const live = decodeLive(body);
  expect(live?.held).toBe(2);
  expect([...(live?.instances ?? [])]).toEqual([
    ["a 10.0.0.1:1", { state: "up" }],
    ["a 10.0.0.1:2", { state: "down", check: "refuses connections" }],
    ["a 10.0.0.1:3", { state: "starting" }],
    ["a 10.0.0.1:5", { state: "down" }],
  ]);
});

test.each([[null], [[]], ["x"], [{}], [{ services: 1 }]])("%j is not an answer", (odd) => {
  expect(decodeLive(odd)).toBeUndefined();
});

test.each([[{ services: [null, 1, {}, { instances: 1 }, { name: "a", instances: [null, {}] }] }]])(
  "%j says nothing",
  (odd) => {
    expect(decodeLive(odd)).toEqual({ instances: new Map(), held: 0 });
  },
);

test("who has passed a check, and who does not now; what is not known counts as Consul says", () => {
  const routing = buildRouting({ instances: [1, 2, 3, 6].map((port) => instance("a", port)), kv: {} });
  const live = decodeLive(body);
  if (live === undefined) throw new Error("not decoded");
  expect(checksOf(routing, live)).toEqual({
    proven: new Set(["svc:a/10.0.0.1:1", "svc:a/10.0.0.1:2", "svc:a/10.0.0.1:6"]),
    down: new Set(["svc:a/10.0.0.1:2"]),
  });
});

test("it is asked at its admin port, and nobody there is no error", async () => {
  const server = createServer((request, response) => {
    response.end(request.url === "/routes" ? JSON.stringify(body) : "{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  expect((await askLive("127.0.0.1", port))?.instances.size).toBe(4);
  await new Promise((resolve) => server.close(resolve));
  expect(await askLive("127.0.0.1", port)).toBeUndefined();
});
