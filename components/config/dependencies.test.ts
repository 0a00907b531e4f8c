import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { parse } from "../schema";
import { inOrder } from "./dependencies";
import { services } from "./services";

const service = (name: string, ...depends_on: string[]) => ({ name, depends_on });
const read = (...given: object[]) =>
  parse(services, given.map((each) => ({ image: "a:1", port: 80, ...each })), "services"); // prettier-ignore

describe("depends_on", () => {
  it.each([
    [[service("web", "db")], 'services[0].depends_on[0] is db, which is no service of the stack: use one of '],
    [[service("web", "web")], "services[0].depends_on[0] is web, the service itself: remove it"],
    [
      [service("web"), service("a", "web", "c"), service("b", "a"), service("c", "b")],
      "services[1].depends_on is a cycle: a → c → b → a: remove one of them",
    ],
    [
      [service("web", "job"), { ...service("job"), port: undefined, schedule: "@daily" }],
      "services[0].depends_on[0] is job, a job, which up does not start: remove it, or use before",
    ],
  ])("rejects %j", (given, message) => {
    expect(() => read(...given)).toThrow(message);
  }); // prettier-ignore

  it("orders services, and leaves others where they are", () => {
    const given = read(service("web", "api"), service("x"), service("api", "db", "cache"), service("db"), service("cache"));
    expect(inOrder(given).map(({ name }) => name)).toEqual(["db", "cache", "api", "web", "x"]);
  }); // prettier-ignore

  it("orders any services without a cycle, in time that grows with their number", () => {
    const graph = fc.array(fc.array(fc.nat(199), { maxLength: 8 }), { maxLength: 200 }).map(
      (needs) =>
      needs.map((others, index) => service(`s${index}`, ...new Set(others.filter((other) => other < index).map((other) => `s${other}`)))), // prettier-ignore
    );
    fc.assert(
      fc.property(graph.chain((given) => fc.shuffledSubarray(given, { minLength: given.length })), (given) => {
        const names = inOrder(given).map(({ name }) => name);
        expect([...names].sort()).toEqual(given.map(({ name }) => name).sort());
        for (const { name, depends_on } of given)
          for (const other of depends_on) expect(names.indexOf(other)).toBeLessThan(names.indexOf(name));
      }), // prettier-ignore
      { numRuns: 30 },
    );
  });
});
