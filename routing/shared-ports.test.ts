import { expect, test } from "vitest";
import { buildRouting } from "./build";
import { originKey } from "./shared-ports";
import type { Instance } from "./types";

const instance = (service: string, id: string, given: Partial<Instance> = {}): Instance => ({
  service,
  id,
  node: "n1",
  address: "10.0.0.1",
  port: 8080,
  tags: ["rest"],
  meta: {},
  healthy: true,
  ...given,
});
const problems = (...instances: Instance[]) => buildRouting({ instances, kv: {} }).problems;

test("two services of different containers that claim one address and port are a warning", () => {
  expect(problems(instance("b", "n1:second:80"), instance("a", "n1:first.1:8080"))).toEqual([
    {
      level: "warning",
      subject: "a, b",
      message:
        'Services a (container first.1) and b (container second) claim the same address and port, 10.0.0.1:8080 on node "n1": ' +
        "only one of them can be there, and it answers the requests of all. Give each its own port, or set " +
        "SERVICE_<port>_IGNORE=true on a container that does not use the port.",
    },
  ]);
});

test("both services stay routed", () => {
  const instances = [instance("b", "n1:second:80"), instance("a", "n1:first:80")];
  expect(buildRouting({ instances, kv: {} }).routes.map(({ path }) => path)).toEqual(["/a", "/b"]);
});

test("the container of a service with a SERVICE_ID is known from its meta", () => {
  const chosen = instance("b", "chosen", { meta: { [originKey]: "n1:second:80" } });
  expect(problems(instance("a", "n1:first:80"), chosen)).toMatchObject([{ subject: "a, b" }]);
});

test.each<[string, Instance[]]>([
  ["two containers of one service", [instance("a", "n1:a1:80"), instance("a", "n1:a2:80")]],
  ["one container", [instance("a", "n1:x:80"), instance("b", "n1:x:81")]],
  ["different ports", [instance("a", "n1:x:80"), instance("b", "n1:y:80", { port: 81 })]],
  ["different addresses", [instance("a", "n1:x:80"), instance("b", "n1:y:80", { address: "10.0.0.2" })]],
  ["services that were not registered for a container", [instance("a", "a"), instance("b", "b:8080")]],
  ["no service with a route", ["x", "y"].map((name) => instance(name, `n1:${name}:80`, { tags: [] }))],
  ["TCP and UDP", [instance("a", "n1:x:80"), instance("b", "n1:y:80:udp", { tags: ["udp"] })]],
  [
    "containers of a network, each with its address",
    ["2", "3"].map((last) => instance(last, `n1:${last}:80`, { address: `172.20.0.${last}` })),
  ],
])("%s: no warning", (_, instances) => {
  expect(problems(...instances)).toEqual([]);
});

test.each<[string, Partial<Instance>]>([
  ["without a routing tag", { tags: [] }],
  ["that is rejected", { meta: { weight: "many" } }],
  ["with an address in another spelling", { tags: [], address: "2001:DB8::1" }],
])("a service %s can answer for one that is routed", (_, given) => {
  const address = given.address === undefined ? {} : { address: "2001:db8::1" };
  const found = problems(instance("a", "n1:x:80", address), instance("b", "n1:y:80", given));
  expect(found).toContainEqual(expect.objectContaining({ level: "warning", subject: "a, b" }));
});

test("a name that is no service's is shown as inert text", () => {
  const [problem] = problems(instance("a", "n1:x:80"), instance("b\n", "n1:y:80", { tags: [] }));
  expect(problem).toMatchObject({
    subject: 'a, "b\\n"',
    message: expect.stringContaining('Services a (container x) and "b\\n" (container y) claim') as string,
  });
});

test("an address that two nodes claim names both", () => {
  const [problem] = problems(instance("a", "n1:x:80"), instance("b", "n2:y:80", { node: "n2\n" }));
  expect(problem?.message).toContain('10.0.0.1:8080 on nodes "n1" and "n2\\n": ');
});

test("a message names at most five services", () => {
  const names = ["a", "b", "c", "d", "e", "f", "g"];
  const [problem] = problems(...names.map((name) => instance(name, `n1:c-${name}:80`)));
  expect(problem).toMatchObject({
    subject: "a, b, c, d, e, 2 more",
    message: expect.stringContaining("e (container c-e) and 2 more claim") as unknown,
  });
});
