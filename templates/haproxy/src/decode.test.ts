import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeChecks, decodeKv, decodeNodeServices, decodeNodes } from "./decode";
import { parseArguments, UsageError } from "./options";
import { parseSnapshot } from "./snapshot";

test("services of a node", () => {
  const services = [
    {
      ID: "i",
      Service: "hello/v1",
      Address: "10.0.0.1",
      Port: 80,
      Tags: ["rest", 5],
      Meta: { path: "/x", n: 1 },
    },
    "rubbish",
    { ID: "j", Service: 7, Port: "80", Tags: null, Meta: null },
  ];
  expect(decodeNodeServices({ Node: {}, Services: services })).toEqual([
    { id: "i", service: "hello/v1", address: "10.0.0.1", port: 80, tags: ["rest"], meta: { path: "/x" } },
    { id: "j", service: "", address: "", port: 0, tags: [], meta: {} },
  ]);
  expect(decodeNodeServices(null)).toEqual([]);
  expect(() => decodeNodeServices([])).toThrow("not an object");
});

test("checks: passing, warning, and anything else", () => {
  const checks = ["passing", "warning", "critical", "maintenance", "", 5].map((Status, index) => ({
    Node: "n",
    ServiceID: `s${index}`,
    Status,
  }));
  const { critical, warning } = decodeChecks(checks);
  expect([...warning]).toEqual(["n\ns1"]);
  expect([...critical]).toEqual(["n\ns2", "n\ns3", "n\ns4", "n\ns5"]);
});

test("KV values are text, and folders none", () => {
  expect(
    decodeKv([
      { Key: "a/", Value: null },
      { Key: "a/b", Value: "djE=" },
      { Key: "c", Value: null },
    ]),
  ).toEqual({
    "a/b": "v1",
    c: "",
  });
});

test("whatever Consul answers, it is read or refused", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (body) => {
      for (const decode of [decodeNodes, decodeNodeServices, decodeChecks, decodeKv]) {
        try {
          decode(body);
        } catch (error) {
          expect(String(error)).toContain("Consul's answer");
        }
      }
      expect(parseSnapshot(JSON.stringify(body))).toBeUndefined();
    }),
  );
});

test("a snapshot is read whole or not at all", () => {
  const instance = {
    service: "a",
    id: "i",
    node: "n",
    address: "1.2.3.4",
    port: 1,
    tags: [],
    meta: {},
    healthy: true,
  };
  const text = (given: object) => JSON.stringify({ format: 1, instances: [given], kv: {} });
  expect(parseSnapshot(text(instance))?.instances).toEqual([instance]);
  expect(parseSnapshot(text({ ...instance, port: "1" }))).toBeUndefined();
  expect(parseSnapshot(text(instance).slice(0, -1))).toBeUndefined();
});

test("options", () => {
  const parse = (...argv: string[]) => parseArguments(argv, {}, 4);
  expect(parse()).toMatchObject({
    consulHost: "127.0.0.1",
    consulPort: 8500,
    httpPort: 80,
    threads: 4,
    stats: false,
  });
  expect(parse("--consul=http://10.0.0.1:8501", "--dry", "--once")).toMatchObject({
    consulHost: "10.0.0.1",
    consulPort: 8501,
    dry: true,
    once: true,
  });
  expect(parseArguments([], { STATS_USER: "u", STATS_PASSWORD: "p" }, 1).stats).toBe(true);
  for (const bad of [
    "--consul=x",
    "--http-port=0",
    "--nonsense",
    "run",
    "--state-dir=/a b",
    "--threads=0",
    "--hold=x",
  ])
    expect(() => parse(bad)).toThrow(UsageError);
  expect(() => parseArguments([], { STATS_USER: "u" }, 1)).toThrow("neither");
});
