import fc from "fast-check";
import { expect, test } from "vitest";
import { buildRouting } from "./build";
import { scalingKeys } from "./scaling/keys";
import { encodeSleeping } from "./scaling/sleeping";
import { readSleepers } from "./sleepers";
import type { Instance } from "./types";

const key = `${scalingKeys.sleeping}hello/v2`;
const record = encodeSleeping({ tags: ["rest"], meta: { timeout_server: "5m" } });

const instance = (service: string, more: Partial<Instance> = {}): Instance => ({
  service,
  id: service,
  node: "n",
  address: "10.0.0.1",
  port: 80,
  tags: ["rest"],
  meta: {},
  healthy: true,
  ...more,
});

const targetsOf = (instances: readonly Instance[], kv: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    buildRouting({ instances, kv }).routes.map(({ path, targets }) => [
      path,
      targets.map(({ service, share }) => `${service} ${share}`).join(),
    ]),
  );

test("a service that sleeps has the routes and options of its record", () => {
  const { backends, sleeping } = buildRouting({ instances: [], kv: { [key]: record } });
  expect(backends).toMatchObject([{ service: "hello/v2", servers: [], options: { timeoutServer: 300_000 } }]);
  expect(sleeping).toEqual(new Set(["hello/v2"]));
  expect(targetsOf([], { [key]: record })).toEqual({ "/hello": "hello/v2 100", "/hello/v2": "hello/v2 100" });
  expect(targetsOf([], {})).toEqual({});
});

test("an instance's own options count as soon as it is registered", () => {
  const { backends } = buildRouting({ instances: [instance("hello/v2")], kv: { [key]: record } });
  expect(backends).toMatchObject([{ servers: [{ port: 80 }], options: { kind: "http" } }]);
  expect(backends[0]?.options.timeoutServer).toBeUndefined();
});

test("no other version takes the place of one that sleeps, and shares stay", () => {
  const others = [instance("hello/v1")];
  expect(targetsOf(others, { [key]: record })["/hello"]).toBe("hello/v2 100");
  expect(targetsOf(others, {})["/hello"]).toBe("hello/v1 100");
  const shares = { [key]: record, "service/haproxy/versions/hello": "v1=60,v2=40" };
  expect(targetsOf(others, shares)["/hello"]).toBe("hello/v1 60,hello/v2 40");
  const dead = [...others, instance("hello/v2", { healthy: false })];
  expect(targetsOf(dead, { [key]: record })["/hello"]).toBe("hello/v2 100");
});

test("a service that runs keeps a path that one that sleeps asks for as well", () => {
  const kv = { [`${scalingKeys.sleeping}a`]: encodeSleeping({ tags: ["rest"], meta: { path: "/x" } }) };
  expect(targetsOf([instance("b", { createIndex: 5, meta: { path: "/x" } })], kv)["/x"]).toBe("b 100");
});

test("a record that cannot be used leaves the last usable one in force", () => {
  const lastGood = buildRouting({ instances: [], kv: { [key]: record } }).records;
  const broken = { [key]: "{" };
  const after = buildRouting({ instances: [], kv: broken }, { lastGood: { records: lastGood } });
  expect(after.records).toEqual(lastGood);
  expect(after.backends).toHaveLength(1);
  expect(after.problems).toEqual([
    {
      level: "warning",
      subject: key,
      message: `The KV value of "${key}" is not JSON; the last usable value stays in force.`,
    },
  ]);
  expect(buildRouting({ instances: [], kv: {} }, { lastGood: { records: lastGood } }).backends).toEqual([]);
});

test("the same value gives the same backend", () => {
  const kv = { [key]: record };
  const [first, second] = [readSleepers(kv), readSleepers(kv)];
  expect(first.backends.get("hello/v2")).toBe(second.backends.get("hello/v2"));
});

test("whatever a record says, it is in force as a whole or not at all", () => {
  const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("../x", "a b", "%[src]", "hello\n"));
  const value = fc.oneof(text, fc.json(), fc.constant(record));
  fc.assert(
    fc.property(text, value, (name, given) => {
      const { backends, problems } = readSleepers({ [scalingKeys.sleeping + name]: given });
      expect(backends.size + problems.length).toBe(1);
      for (const service of backends.keys()) expect(service).toMatch(/^[A-Za-z0-9_./-]+$/);
    }),
  );
});
