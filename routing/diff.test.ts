import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { catalogs } from "../templates/haproxy/src/testing";
import { compareRoutings, emptyRouting } from "./diff";
import { summarise, toMarkdown, toText } from "./diff-format";
import { plannedInstances } from "./planned";
import { buildRouting } from "./build";
import type { Instance, Routing } from "./types";

// Hundreds of random catalogs take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const service = (
  name: string,
  {
    replicas = 1,
    type = "rest",
    meta = {},
  }: { replicas?: number; type?: "rest" | "tcp"; meta?: Readonly<Record<string, string>> } = {},
) => plannedInstances({ name, type, meta }, replicas);
const routing = (instances: readonly Instance[], kv: Record<string, string> = {}): Routing =>
  buildRouting({ instances, kv });
const versions = { "service/haproxy/versions/shop": "v1=90,v2=10" };
const v1 = service("shop/v1");
const v2 = service("shop/v2");

describe("as text", () => {
  test.each<[string, Routing, Routing, string[]]>([
    ["nothing", routing(v1), routing(v1), []],
    [
      "a first deployment",
      emptyRouting,
      routing(service("a", { replicas: 2 })),
      ["+ /a -> a", "+ a: 2 instances"],
    ],
    ["a service that is removed", routing(service("a")), emptyRouting, ["- /a -> a", "- a: 1 instance"]],
    [
      "the next version",
      routing(v1),
      routing([...v1, ...v2]),
      ["~ /shop -> shop/v2, was shop/v1", "+ /shop/v2 -> shop/v2", "+ shop/v2: 1 instance"],
    ],
    [
      "a canary",
      routing([...v1, ...v2], { "service/haproxy/versions/shop": "v1" }),
      routing([...v1, ...v2], versions),
      ["~ /shop -> 90% shop/v1, 10% shop/v2, was shop/v1 (set by KV: v1=90,v2=10)"],
    ],
    [
      "other shares",
      routing([...v1, ...v2], { "service/haproxy/versions/shop": "v1=50,v2=50" }),
      routing([...v1, ...v2], versions),
      ["~ /shop -> 90% shop/v1, 10% shop/v2, was 50% shop/v1, 50% shop/v2 (set by KV: v1=90,v2=10)"],
    ],
    [
      "a pin to the version that answers anyway",
      routing(v1),
      routing(v1, { "service/haproxy/versions/shop": "v1" }),
      ["~ /shop -> shop/v1 (set by KV: v1=100)"],
    ],
    [
      "a path that another service takes over",
      routing(service("a", { meta: { path: "/x" } })),
      routing(service("b", { meta: { path: "/x" } })),
      ["~ /x -> b, was a", "- a: 1 instance", "+ b: 1 instance"],
    ],
    [
      "limits and prefix",
      routing(service("a")),
      routing(service("a", { meta: { maxconn: "10", timeout_server: "2s", strip_prefix: "false" } })),
      [
        "~ /a -> a (the prefix is now kept)",
        "~ a maxconn: 10, was not set",
        "~ a timeout_server: 2s, was not set",
      ],
    ],
    [
      "options as their owner writes them",
      routing(service("a")),
      routing(
        service("a", { meta: { proto: "h2c", sticky: "1", timeout_server: "120000", health_path: "/h" } }),
      ),
      [
        "~ a health_path: /h, was not set",
        "~ a proto: h2c, was h1",
        "~ a sticky: true, was false",
        "~ a timeout_server: 2m, was not set",
      ],
    ],
    [
      "a service that becomes TCP",
      routing(service("a")),
      routing(service("a", { type: "tcp", meta: { tcp_port: "5432" } })),
      ["- /a -> a", "+ TCP port 5432 -> a", "~ a type: tcp, was http"],
    ],
    [
      "a TCP port",
      routing(service("db", { type: "tcp", meta: { tcp_port: "5432" } })),
      routing(service("db", { type: "tcp", meta: { tcp_port: "5433" } })),
      ["- TCP port 5432 -> db", "+ TCP port 5433 -> db"],
    ],
    [
      "fewer instances, one of another weight",
      routing(service("a", { replicas: 3 })),
      routing([
        ...service("a", { replicas: 1, meta: { weight: "5" } }),
        ...service("a", { replicas: 2 }).slice(1),
      ]),
      ["~ a: 2 instances, was 3 instances (192.0.2.1:1 weighs 5, was 100)"],
    ],
    ["settings", routing(v1), routing(v1, { "service/haproxy/maxconn": "10" }), ["~ maxconn: 10, was 4096"]],
    [
      "settings by their KV keys",
      routing(v1),
      routing(v1, { "service/haproxy/timeouts/server": "5s" }),
      ["~ timeouts/server: 5000, was 50000"],
    ],
  ])("%s", (_, before, after, expected) => {
    expect(toText(compareRoutings(before, after))).toEqual(expected);
  });

  test("a conflict is reported when it appears and when it is resolved", () => {
    const conflict = routing([...service("a"), ...service("b", { meta: { path: "/a" } })]);
    expect(toText(compareRoutings(routing(service("a")), conflict))).toEqual([
      expect.stringMatching(/^! quarantined: Service b wants \/a, which a already has/),
    ]);
    expect(toText(compareRoutings(conflict, routing(service("a"))))).toEqual([
      expect.stringMatching(/^- no longer quarantined: Service b wants/),
    ]);
  });
});

test("the summary is one clause", () => {
  expect(summarise(compareRoutings(routing(v1), routing([...v1, ...v2])))).toBe(
    "1 URL appears, 1 moves, 1 service changed",
  );
  expect(summarise([])).toBe("nothing changes");
});

describe("as Markdown", () => {
  test("URLs and services are in tables", () => {
    expect(
      toMarkdown(compareRoutings(routing(v1), routing([...v1, ...service("shop/v2", { replicas: 3 })]))),
    ).toEqual([
      "|  | URL | before | after | why |",
      "| --- | --- | --- | --- | --- |",
      "| changed | /shop | shop/v1 | shop/v2 |  |",
      "| new | /shop/v2 |  | shop/v2 |  |",
      "",
      "|  | service | before | after |  |",
      "| --- | --- | --- | --- | --- |",
      "| new | shop/v2 |  | 3 instances |  |",
    ]);
  });

  test("no name can start markup, end a cell or mention a person", () => {
    fc.assert(
      fc.property(catalogs, catalogs, (before, after) => {
        for (const line of toMarkdown(compareRoutings(buildRouting(before), buildRouting(after)))) {
          expect(line).not.toMatch(/[<>`@[\]\n\r\\]/);
          if (line.startsWith("|")) expect(line.split("|")).toHaveLength(7);
        }
      }),
      { numRuns: 300 },
    );
  });
});

test("a routing does not differ from itself, and the number of differences is symmetric", () => {
  fc.assert(
    fc.property(catalogs, catalogs, (a, b) => {
      const [before, after] = [buildRouting(a), buildRouting(b)];
      expect(compareRoutings(before, before)).toEqual([]);
      const there = compareRoutings(before, after);
      const back = compareRoutings(after, before);
      expect(there.length).toBe(back.length);
      expect(toText(there).every((line) => !/[\n\r]/.test(line))).toBe(true);
    }),
    { numRuns: 300 },
  );
});
