import fc from "fast-check";
import { expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Routing } from "../../../../routing/types";
import { findRefused, portsRefused } from "./quarantine";
import { instance } from "../testing";

const names = Array.from({ length: 40 }, (_, index) => `s${index}`);
const routing = buildRouting({ instances: names.map((name) => instance(name, 1)), kv: {} });

test("finds exactly the services that HAProxy refuses, in few tries", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.constantFrom(...names), { maxLength: 4 }), async (bad) => {
      let tries = 0;
      const found = await findRefused(routing, ({ backends }: Routing) => {
        tries++;
        const one = backends.find(({ service }) => bad.includes(service));
        return Promise.resolve(one === undefined ? undefined : `says no to ${one.service}`);
      });
      expect([...found].sort()).toEqual(bad.map((name) => [name, `says no to ${name}`]).sort());
      expect(tries).toBeLessThanOrEqual(2 + bad.length * 14);
    }),
  );
});

test("blames no service for the settings", async () => {
  expect(await findRefused(routing, () => Promise.resolve("maxconn is wrong"))).toEqual(new Map());
});

test("finds the service of a port that HAProxy cannot bind", () => {
  const tcp = buildRouting({
    instances: [2500, 25].map((port) =>
      instance(`mail${port}`, 1, { tags: ["tcp"], meta: { tcp_port: String(port) } }),
    ),
    kv: {},
  });
  const sentence = "Binding [x:11] for frontend tcp:25: protocol tcpv4: cannot bind socket";
  expect(portsRefused(tcp, new Error(`it did not start: x; ${sentence}`))).toEqual(
    new Map([["mail25", sentence]]),
  );
  expect(portsRefused(tcp, new Error("something else"))).toEqual(new Map());
});

test("a refused service is quarantined with HAProxy's complaint, and other versions take its requests", () => {
  const result = buildRouting(
    { instances: [instance("a/v1", 1), instance("a/v2", 1)], kv: {} },
    { refused: new Map([["a/v2", "no"]]) },
  );
  expect(result.routes.map(({ path, targets }) => [path, targets[0]?.service])).toEqual([
    ["/a", "a/v1"],
    ["/a/v1", "a/v1"],
  ]);
  expect(result.problems).toMatchObject([
    {
      level: "quarantined",
      subject: "a/v2",
      message: expect.stringContaining("refused by HAProxy: no.") as string,
    },
  ]);
});
