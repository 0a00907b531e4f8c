import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { desiredOf } from "./desired";
import { isOurs, plan } from "./plan";
import { originKey } from "../../../../routing/shared-ports";
import type { ActualService, Claim, Health, Service } from "../types";

const ids = ["n:a:80", "n:b:80", "n:c:53:udp", "other:a:80", "n:x", "redis", "n:a:b:80", "n:a:80x"];
const healthy = fc.constantFrom<Health>("passing", "critical");
const id = fc.constantFrom(...ids);

const claim: Claim = { by: "published", protocol: "tcp", startMs: 0 };

const service = fc
  .record({ id, port: fc.integer({ min: 1, max: 3 }), health: fc.option(healthy) })
  .map(({ id: ID, port, health }): Service => ({
    container: ID.split(":")[1] ?? "x",
    claim,
    registration: {
      ID,
      Name: "web",
      Address: "10.0.0.1",
      Port: port,
      Tags: [],
      Meta: /^n:\w:\d+(:udp)?$/.test(ID) ? {} : { [originKey]: "n:chosen:80" },
      ...(health && { Check: { Name: "Docker HEALTHCHECK", TTL: "8760h" } }),
    },
    ...(health && { health }),
  }));

const asActual = ({ registration: { Check: check, ...registration }, health }: Service): ActualService => ({
  registration,
  ...(check && { check: { name: check.Name ?? "", type: "ttl", status: health ?? "critical" } }),
});

const mapOf = <T>(items: readonly T[], key: (item: T) => string) =>
  new Map(items.map((each) => [key(each), each]));
const desiredMap = fc.array(service).map((all) => mapOf(all, (each) => each.registration.ID));
const foreign = id.map((ID): ActualService => ({
  registration: { ID, Name: "old", Address: "10.0.0.1", Port: 9, Tags: [], Meta: {} },
}));
const actualMap = fc
  .array(fc.oneof(service.map(asActual), foreign))
  .map((all) => mapOf(all, (each) => each.registration.ID));

describe("plan", () => {
  it("is empty after it was carried out, and leaves foreign services alone", () => {
    fc.assert(
      fc.property(desiredMap, actualMap, (desired, actual) => {
        const todo = plan(desired, actual, "n");
        const after = new Map(actual);
        for (const { service: each } of [...todo.register, ...todo.update]) {
          after.set(each.registration.ID, asActual(each));
        }
        for (const each of todo.remove) {
          expect(
            ids.slice(0, 3).includes(each.id) || originKey in (actual.get(each.id)?.registration.Meta ?? {}),
          ).toBe(true);
          expect(desired.has(each.id)).toBe(false);
          after.delete(each.id);
        }
        expect(plan(desired, after, "n")).toEqual({ register: [], update: [], remove: [] });
      }),
    );
  });

  it("ignores the order of tags and meta", () => {
    const registration = { ID: "n:a:80", Name: "a", Address: "h", Port: 1 };
    const want: Service = {
      container: "a",
      claim,
      registration: { ...registration, Tags: ["x", "y"], Meta: { a: "1", b: "2" } },
    };
    const have = { registration: { ...registration, Tags: ["y", "x"], Meta: { b: "2", a: "1" } } };
    const todo = plan(new Map([["n:a:80", want]]), new Map([["n:a:80", have]]), "n");
    expect(todo.register).toEqual([]);
  });

  it("registers again if the check is missing or of another kind", () => {
    const registration = { ID: "n:a:80", Name: "a", Address: "h", Port: 1, Tags: [], Meta: {} };
    const want: Service = { container: "a", claim, registration: { ...registration, Check: { TCP: "h:1" } } };
    const desired = new Map([["n:a:80", want]]);
    const reasons = [
      undefined,
      { name: "", type: "tcp", status: "critical" },
      { name: "", type: "http", status: "" },
    ].map(
      (check) =>
        plan(desired, new Map([["n:a:80", { registration, ...(check && { check }) }]]), "n").register.length,
    );
    expect(reasons).toEqual([1, 0, 1]);
  });
});

it.each([
  ["n:web.1:80", {}, true],
  ["n:web:53:udp", {}, true],
  ["m:web:80", {}, false],
  ["n:web", {}, false],
  ["n:we b:80", {}, false],
  ["my-id", {}, false],
  ["my-id", { [originKey]: "n:web:80" }, true],
  ["my-id", { [originKey]: "m:web:80" }, false],
])("%s with meta %j is ours: %s", (ID, Meta, expected) => {
  expect(isOurs({ registration: { ID, Name: "x", Address: "", Port: 1, Tags: [], Meta } }, "n")).toBe(
    expected,
  );
});

it("assigns each ID once: default IDs first, foreign IDs never", () => {
  const make = (name: string, ID: string, chosen: boolean): Service => ({
    container: name,
    claim,
    registration: {
      ID,
      Name: name,
      Address: "h",
      Port: 1,
      Tags: [],
      Meta: chosen ? { [originKey]: `n:${name}:80` } : {},
    },
  });
  const all = [make("thief", "n:a:80", true), make("a", "n:a:80", false), make("b", "foreign", true)];
  const { services, conflicts } = desiredOf(all, new Set(["foreign"]));
  expect([...services.values()].map(({ container }) => container)).toEqual(["a"]);
  expect(conflicts.map(({ why }) => why)).toEqual([
    "its ID, n:a:80, is that of container a; set another SERVICE_ID",
    "its ID, foreign, is that of a service not registered by Registrator; set another SERVICE_ID",
  ]);
});
