import fc from "fast-check";
import { expect, test } from "vitest";
import { buildRouting, type Routing } from "../../../../routing/build";
import { checkServices, servicesNamed } from "./quarantine";
import { instance } from "../testing";

const names = Array.from({ length: 40 }, (_, index) => `s${index}`);
const routing = buildRouting({ instances: names.map((name) => instance(name, 1)), kv: {} });

test("whichever services are refused, exactly those are found, in few tries", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.constantFrom(...names), { maxLength: 4 }), async (bad) => {
      let tries = 0;
      const found = await checkServices(routing, ({ backends }: Routing) => {
        tries++;
        const one = backends.find(({ service }) => bad.includes(service));
        return Promise.resolve(one === undefined ? undefined : `says no to ${one.service}`);
      });
      expect([...found].sort()).toEqual(bad.map((name) => [name, `says no to ${name}`]).sort());
      expect(tries).toBeLessThanOrEqual(2 + bad.length * 14);
    }),
  );
});

test("no service is blamed for the settings", async () => {
  expect(await checkServices(routing, () => Promise.resolve("maxconn is wrong"))).toEqual(new Map());
});

test("a port that cannot be had leads to its service", () => {
  const tcp = buildRouting({
    instances: [2500, 25].map((port) =>
      instance(`mail${port}`, 1, { tags: ["tcp"], meta: { tcp_port: String(port) } }),
    ),
    kv: {},
  });
  const sentence = "Binding [x:11] for frontend tcp:25: protocol tcpv4: cannot bind socket";
  expect(servicesNamed(tcp, new Error(`it did not start: x; ${sentence}`))?.services).toEqual(
    new Map([["mail25", sentence]]),
  );
  expect(servicesNamed(tcp, new Error("something else"))).toBeUndefined();
});

test("a refused service is quarantined with the sentence, and a version of it leaves its share to the others", () => {
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
