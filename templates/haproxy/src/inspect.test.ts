import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Catalog, Instance } from "../../../model/routes";
import type { Live, LiveInstance } from "./live";
import { parseCommand, runCommand, type Surroundings } from "./inspect";
import { formatSnapshot, parseSnapshot } from "./snapshot";
import { instance, renderOptions } from "./testing";

const folder = mkdtempSync(join(tmpdir(), "switchyard-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const catalog = (...instances: Instance[]): Catalog => ({ instances, kv: {} });

function file(name: string, content: Catalog | string): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : formatSnapshot(content));
  return path;
}

const around: Surroundings = {
  routing: { reservedPorts: new Map([[80, "the load balancer's HTTP frontend"]]) },
  render: renderOptions,
  catalog: () => Promise.resolve(catalog(instance("b", 2), instance("a", 1))),
  admin: "127.0.0.1:8404",
  live: () => Promise.resolve(undefined),
};

function runIn(surroundings: Surroundings, ...argv: string[]): Promise<string> {
  const command = parseCommand(argv);
  if (command === undefined) throw new Error("not a command");
  return runCommand(command, surroundings);
}

const run = (...argv: string[]): Promise<string> => runIn(around, ...argv);

test.each<[string[], unknown]>([
  [["--dry"], undefined],
  [[], undefined],
  [["snapshot", "--consul=x:1"], { name: "snapshot", words: [], json: false, options: ["--consul=x:1"] }],
  [
    ["explain", "/a", "--json", "--snapshot=f"],
    { name: "explain", words: ["/a"], json: true, snapshot: "f", options: [] },
  ],
])("the command of %j", (argv, expected) => {
  expect(parseCommand(argv)).toEqual(expected);
});

test("the wrong number of arguments is a mistake of the user's", () => {
  expect(() => parseCommand(["diff", "a"])).toThrow("diff takes 2 arguments, not 1.");
});

test("a snapshot is in a stable order and can be read again", async () => {
  const printed = await run("snapshot");
  expect(parseSnapshot(printed)).toEqual(catalog(instance("a", 1), instance("b", 2)));
});

describe("explain", () => {
  test("asks Consul, or reads a snapshot", async () => {
    expect(await run("explain", "http://localhost/a")).toContain("goes to the instance of a.");
    const snapshot = file("only-c.json", catalog(instance("c", 3)));
    expect(await run("explain", "/a", `--snapshot=${snapshot}`)).toContain("/a: 404, no route matches");
    expect(JSON.parse(await run("explain", "/c", `--snapshot=${snapshot}`, "--json"))).toMatchObject({
      answer: "proxied",
      targets: [{ service: "c", instances: [{ address: "10.0.0.1:3" }] }],
    });
  });

  test("knows what the load balancer's own checks say, where one runs", async () => {
    const live: Live = {
      instances: new Map<string, LiveInstance>([
        ["shop/v1 10.0.0.1:1", { state: "up" }],
        ["shop/v2 10.0.0.1:2", { state: "down", check: "refuses connections, or cannot be reached" }],
        ["shop/v3 10.0.0.1:3", { state: "starting" }],
      ]),
      held: 2,
    };
    const shop = {
      ...around,
      catalog: () =>
        Promise.resolve(
          catalog(instance("shop/v1", 1), instance("shop/v2", 2), instance("shop/v3", 3), instance("new", 4)),
        ),
    };
    const beside = { ...shop, live: () => Promise.resolve(live) };
    expect(await runIn(shop, "explain", "/shop")).toMatch(/^\/shop: goes to the instance of shop\/v3\.$/m);
    const explained = await runIn(beside, "explain", "/shop");
    expect(explained).toMatch(/^\/shop: goes to the instance of shop\/v1\.$/m);
    expect(explained).toMatch(/^checks {5}as the load balancer at 127\.0\.0\.1:8404 says; it keeps 2 /m);
    expect(await runIn(beside, "explain", "/shop/v2")).toMatch(
      /: 503, .*finds it down: refuses connections, or cannot be reached/s,
    );
    expect(await runIn(beside, "explain", "/shop/v3")).toMatch(
      /: 503, .*has not passed a health check .* yet /s,
    );
    expect(await runIn(beside, "explain", "/new")).toContain("goes to the instance of new.");
  });

  test("says so where no load balancer runs", async () => {
    expect(await run("explain", "/a")).toMatch(/^checks {5}not known, .*127\.0\.0\.1:8404/m);
  });

  test.each([
    [["explain", "hello"], '"hello" is not a URL'],
    [["explain", "/a", "--snapshot=/nowhere"], "cannot be read"],
    [["explain", "/a", `--snapshot=${file("bad.json", "{}")}`], "is not a snapshot of this release"],
  ])("%j is refused with a sentence", async (argv, why) => {
    await expect(run(...argv)).rejects.toThrow(why);
  });
});

describe("diff says what changes and what it takes", () => {
  const before = file("before.json", catalog(instance("shop/v1", 1)));
  test.each<[string, Catalog, string[]]>([
    ["nothing", catalog(instance("shop/v1", 1)), ["nothing changes", "At run time: nothing to do."]],
    [
      "the next version",
      catalog(instance("shop/v1", 1), instance("shop/v2", 2)),
      [
        "~ /shop -> shop/v2, was shop/v1",
        "+ /shop/v2 -> shop/v2",
        "+ shop/v2: 1 instance",
        "At run time: 3 operations, no reload: shop/v2 + 10.0.0.1:2, route */shop/ -> shop/v2, route */shop/v2/ -> shop/v2.",
      ],
    ],
    [
      "a TCP port",
      catalog(instance("shop/v1", 1), instance("db", 5, { tags: ["tcp"], meta: { tcp_port: "5432" } })),
      [
        "+ TCP port 5432 -> db",
        "+ db: 1 instance",
        "At run time: a reload, because TCP port 5432 of service db is new; service db is new and has options of its own.",
      ],
    ],
    [
      "a port of ours",
      catalog(instance("shop/v1", 1), instance("db", 5, { tags: ["tcp"], meta: { tcp_port: "80" } })),
      [
        "! quarantined: Service db wants port 80 of the load balancer, which the load balancer's HTTP frontend already has: choose another SERVICE_TCP_PORT.",
        "At run time: nothing to do.",
      ],
    ],
  ])("%s", async (name, after, expected) => {
    const printed = await run("diff", before, file(`${name}.json`, after));
    expect(printed.trimEnd().split("\n").sort()).toEqual([...expected].sort());
  });

  test("as JSON", async () => {
    const after = file("after.json", catalog(instance("shop/v1", 1), instance("shop/v1", 2)));
    expect(JSON.parse(await run("diff", before, after, "--json"))).toMatchObject({
      summary: "1 service changed",
      differences: [{ kind: "instances", service: "shop/v1", added: ["10.0.0.1:2"] }],
      runtime: { kind: "operations", operations: [{ kind: "add", server: "10.0.0.1:2" }] },
    });
  });
});
