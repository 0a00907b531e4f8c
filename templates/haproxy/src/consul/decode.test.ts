import fc from "fast-check";
import { expect, test } from "vitest";
import { isQueryable, decodeChecks, decodeKv, decodeNodeServices, decodeNodes } from "./decode";
import { parseSnapshot } from "./snapshot";

test("decodes the services of a node", () => {
  const services = [
    {
      ID: "i",
      Service: "hello/v1",
      Address: "10.0.0.1",
      Port: 80,
      Tags: ["rest", 5],
      Meta: { path: "/x", n: 1 },
      CreateIndex: 20,
      ModifyIndex: 21,
    },
    "rubbish",
    { ID: "j", Service: 7, Port: "80", Tags: null, Meta: null, CreateIndex: "20" },
  ];
  expect(decodeNodeServices({ Node: {}, Services: services })).toEqual([
    {
      id: "i",
      service: "hello/v1",
      address: "10.0.0.1",
      port: 80,
      tags: ["rest"],
      meta: { path: "/x" },
      createIndex: 20,
    },
    { id: "j", service: "", address: "", port: 0, tags: [], meta: {} },
  ]);
  expect(decodeNodeServices(null)).toEqual([]);
  expect(() => decodeNodeServices([])).toThrow("not an object");
});

test.each(["connect-proxy", "mesh-gateway", "ingress-gateway", "terminating-gateway", "api-gateway", "new"])(
  "leaves out services of kind %s",
  (Kind) => {
    const web = { ID: "web", Service: "web", Port: 80, Tags: ["rest"], Meta: { path: "/shop" }, Kind: "" };
    const other = { ...web, ID: "web-sidecar-proxy", Service: "web-sidecar-proxy", Port: 21_000, Kind };
    expect(decodeNodeServices({ Services: [web, other] }).map(({ id }) => id)).toEqual(["web"]);
  },
);

test.each(["n", "n-1.example.com", "a/b", "a/", "...", "a..b", "%2e", "ä ?#", "__proto__", "😀"])(
  "Consul finds a node called %j",
  (name) => {
    expect(isQueryable(name)).toBe(true);
  },
);

test.each([
  ".",
  "..",
  "/",
  "/a",
  "a//b",
  "a/../b",
  "./a",
  "a/.",
  "a\nb",
  "a\0b",
  "\u0085",
  "a".repeat(1_001),
])("Consul does not find a node called %j", (name) => {
  expect(isQueryable(name)).toBe(false);
});

test("groups checks by node, those of the node itself included", () => {
  const checks = [
    { Node: "n", ServiceID: "a" },
    { Node: "n", ServiceID: "" },
    { Node: "m", ServiceID: "b" },
    5,
  ];
  expect(decodeChecks(checks)).toEqual(
    new Map([
      ["n", new Set(["a", ""])],
      ["m", new Set(["b"])],
    ]),
  );
});

test("an unchanged service stays the same object", () => {
  const service = (port: number) => ({
    ID: `s${port}`,
    Service: "s",
    Port: port,
    Tags: ["rest"],
    Meta: { a: "b" },
  });
  const first = decodeNodeServices({ Services: [service(1), service(2)] });
  const second = decodeNodeServices({ Services: [service(1), { ...service(2), Tags: ["tcp"] }] }, first);
  expect(second[0]).toBe(first[0]);
  expect(second[1]).toMatchObject({ tags: ["tcp"] });
  // Registered again with the same content, so another service may be the first now.
  const third = decodeNodeServices({ Services: [{ ...service(1), CreateIndex: 9 }] }, first);
  expect(third[0]).not.toBe(first[0]);
});

test.each([
  [
    { Passing: 10, Warning: 1 },
    { passing: 10, warning: 1 },
  ],
  [
    { Passing: 65_535, Warning: 0 },
    { passing: 65_535, warning: 0 },
  ],
  [{ Passing: 1, Warning: 1 }, undefined],
  [{ Passing: 0, Warning: 1 }, undefined],
  [{ Passing: 65_536, Warning: 1 }, undefined],
  [{ Passing: -1, Warning: 1 }, undefined],
  [{ Passing: 1.5, Warning: 1 }, undefined],
  [{ Passing: "10", Warning: 1 }, undefined],
  [{ Passing: 10 }, undefined],
  [null, undefined],
])("weights %j: %j", (Weights, weights) => {
  const first = decodeNodeServices({ Services: [{ ID: "i", Service: "i", Weights }] });
  expect(first[0]?.weights).toEqual(weights);
  const second = decodeNodeServices(
    { Services: [{ ID: "i", Service: "i", Weights: { Passing: 7, Warning: 1 } }] },
    first,
  );
  expect(second[0]?.weights?.passing).toBe(7);
});

test("decodes KV values as text and skips folders", () => {
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

test("every answer is decoded or rejected", () => {
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

test("a snapshot is read as a whole or not at all", () => {
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
  expect(parseSnapshot(text({ ...instance, createIndex: 5 }))?.instances).toEqual([
    { ...instance, createIndex: 5 },
  ]);
  expect(parseSnapshot(text({ ...instance, createIndex: "5" }))).toBeUndefined();
  const weights = { passing: 10, warning: 1 };
  expect(parseSnapshot(text({ ...instance, weights }))?.instances).toEqual([{ ...instance, weights }]);
  expect(parseSnapshot(text({ ...instance, weights: { passing: 10 } }))).toBeUndefined();
  expect(parseSnapshot(text(instance).slice(0, -1))).toBeUndefined();
});
