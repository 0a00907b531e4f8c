import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Catalog, Instance } from "../../../../routing/types";
import { parseCommand, runCommand, type Surroundings } from "./commands";
import { formatSnapshot, parseSnapshot } from "../consul/snapshot";
import { instance, renderOptions } from "../testing";

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
  running: () => Promise.resolve(undefined),
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

  test("asks the load balancer that runs, unless a Consul or a snapshot is named", async () => {
    const asked: string[] = [];
    const beside = {
      ...around,
      running: (question: string) => {
        asked.push(question);
        return Promise.resolve("as the load balancer says\n");
      },
    };
    expect(await runIn(beside, "explain", "/a%20b")).toBe("as the load balancer says\n");
    await runIn(beside, "explain", "/a", "--version=v1", "--json", "--consul=x:1", "--admin=x:2");
    expect(asked).toEqual(["/explain?url=%2Fa%2520b", "/explain?url=%2Fa&version=v1&json="]);
    expect(await runIn(beside, "explain", "/a", "--consul=x:1")).toContain("no load balancer was asked");
    const snapshot = file("only-d.json", catalog(instance("d", 4)));
    expect(await runIn(beside, "explain", "/d", `--snapshot=${snapshot}`)).toContain("a snapshot has none");
    expect(asked).toHaveLength(2);
  });

  test("asks Consul where none answers, and says so", async () => {
    expect(await run("explain", "/a")).toMatch(
      /^checks {5}not known, .*no load balancer answers at 127\.0\.0\.1:8404/m,
    );
  });

  test.each([
    [["explain", "hello"], '"hello" is not a URL'],
    [["explain", "/a", "--snapshot=/nowhere"], "cannot be read"],
    [["explain", "/a", `--snapshot=${file("bad.json", "{}")}`], "is not a snapshot of this release"],
  ])("rejects %j with the reason", async (argv, why) => {
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
