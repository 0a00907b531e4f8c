import { describe, expect, it } from "vitest";
import { changedKeys, diffByRules, shown, withoutIgnored } from "./diff";
import { container } from "./docker/container";
import { image } from "./docker/image";
import { nanoseconds, withName } from "./docker/values";
import { eventLog, outputChangeLine, outputChanges, outputLines, planLines } from "./print";
import { secret, UNKNOWN, type WireMap } from "./wire";

describe("changed properties", () => {
  it.each<[string, WireMap, WireMap, string[]]>([
    ["nothing", { a: 1 }, { a: 1 }, []],
    ["a value", { a: 1 }, { a: 2 }, ["a"]],
    ["added and removed", { a: 1 }, { b: 1 }, ["a", "b"]],
    ["absent, null and empty are one", { a: null, b: [], c: {} }, {}, []],
    ["sets have no order", { a: ["x", "y"] }, { a: ["y", "x"] }, []],
    ["nor do the keys of maps", { a: { x: 1, y: 2 } }, { a: { y: 2, x: 1 } }, []],
    ["a secret of the same value", { a: secret("x") }, { a: "x" }, []],
    ["a secret of another value", { a: secret("x") }, { a: secret("y") }, ["a"]],
    ["an unknown value", { a: "x" }, { a: UNKNOWN }, ["a"]],
  ])("%s", (_what, olds, news, changed) => {
    expect(changedKeys(olds, news)).toEqual(changed);
  });

  it("compares order only where it matters, and applies defaults", () => {
    const rules = { lists: ["command"], defaults: { start: true } };
    expect(changedKeys({ command: ["a", "b"] }, { command: ["b", "a"] }, rules)).toEqual(["command"]);
    expect(changedKeys({}, { start: true }, rules)).toEqual([]);
    expect(changedKeys({}, { start: false }, rules)).toEqual(["start"]);
  });

  it("deletes first only if a given name is kept", () => {
    expect(diffByRules({ name: "x", a: 1 }, { name: "x", a: 2 }, {}, false).deleteBeforeReplace).toBe(true);
    expect(diffByRules({ name: "x", a: 1 }, { name: "x", a: 2 }, {}, true).deleteBeforeReplace).toBe(false);
    expect(diffByRules({ name: "x" }, { name: "y" }, {}, false).deleteBeforeReplace).toBe(false);
  });

  it("honours ignoreChanges, including paths", () => {
    expect(withoutIgnored({ a: 1, c: 3 }, { a: 2, b: 2, c: 4 }, ["a", "b", "c.deep"])).toEqual({
      a: 1,
      c: 3,
    });
    expect(withoutIgnored({ a: 1 }, { a: 2, b: 1 }, ["*"])).toEqual({ a: 1 });
  });
});

describe("types", () => {
  const base = { name: "web", image: "app", memory: 64, restart: "no" };
  it.each<[WireMap, string[], string[]]>([
    [{ memory: 128 }, ["memory"], []],
    [{ restart: "always" }, ["restart"], []],
    [{ restart: "no", networkMode: "bridge", start: true }, [], []],
    [{ image: "app2" }, ["image"], ["image"]],
    [{ envs: ["A=1"], memory: 1 }, ["envs", "memory"], ["envs"]],
  ])("a container with %o", (more, changed, replaces) => {
    const diff = container.diff(base, { ...base, ...more }, false);
    expect(diff).toEqual({ changed, replaces, deleteBeforeReplace: true });
  });

  it("an image is always updated in place", () => {
    expect(image.diff({ imageName: "a" }, { imageName: "b" }, false)).toMatchObject({
      changed: ["imageName"],
      replaces: [],
    });
  });

  it("generates names once and keeps them", () => {
    const { name } = withName("web", undefined, {});
    expect(name).toMatch(/^web-[0-9a-f]{7}$/);
    expect(withName("web", { name: name ?? "" }, {}).name).toBe(name);
    expect(withName("web", { name: "given" }, {}).name).not.toBe("given");
    expect(withName("web", undefined, { name: "mine" }).name).toBe("mine");
  });

  it("parses Go durations", () => {
    expect(nanoseconds("1m30s", "x")).toBe(90e9);
    expect(nanoseconds("1.5ms", "x")).toBe(1.5e6);
    expect(() => nanoseconds("10", "interval")).toThrow("`interval`");
  });
});

describe("printed output", () => {
  const change = {
    operation: "update" as const,
    urn: "urn:pulumi:dev::p::docker:index/container:Container::web",
    type: "docker:index/container:Container",
    changed: ["envs", "memory"],
    olds: { envs: ["A=1", secret("B=hush")], memory: 1 },
    news: { envs: ["A=2", secret("B=hush")], memory: 2 },
  };

  it("masks secrets, in the plan, its events and the outputs", () => {
    expect(planLines(change)).toEqual([
      " ~  docker:index:Container web update [diff: envs, memory]",
      `        envs: ["A=1","[secret]"] => ["A=2","[secret]"]`,
      "        memory: 1 => 2",
    ]);
    expect(eventLog([], [change])).not.toContain("hush");
    expect(outputLines({ deep: { er: [secret({ a: "hush" })] } }).join()).not.toContain("hush");
    expect(shown(secret("hush"))).toBe('"[secret]"');
  });

  it("reports changed outputs, but not unknown ones", () => {
    const before = { routes: { "/a": "a × 1", "/b": "b × 1" }, url: "http://x", password: secret("old") };
    const after = { routes: { "/a": "a × 2", "/c": "c × 1" }, url: UNKNOWN, password: secret("new") };
    expect(outputChanges(before, after).map(outputChangeLine)).toEqual([
      '  ~ routes./a: "a × 1" => "a × 2"',
      '  - routes./b: "b × 1"',
      '  + routes./c: "c × 1"',
    ]);
  });
});
