import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Instance } from "../../../../routing/types";
import { noticeService, writeNotices } from "../../../../routing/notices";
import { explain, parseAsked, type Explanation } from "./explain";
import { explainText } from "./explain-text";
import type { InstanceStatuses } from "./status";
import { scaledCatalog, scaling } from "./testing";
import { render } from "../config/render";
import { catalogs, hostsLookedUp, instance, renderOptions } from "../testing";

// Thousands of cases take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const unknown = { source: "not known" };

function ask(url: string, instances: readonly Instance[], kv: Record<string, string> = {}): Explanation {
  const asked = parseAsked(url);
  if (!asked.ok) throw new Error(asked.error);
  return explain(asked.value, { instances, kv }, buildRouting({ instances, kv }), unknown);
}

const hello = [instance("hello/v1", 1), instance("hello/v2", 2), instance("hello/v2", 3)];

test.each<[string, Explanation["asked"] | undefined]>([
  ["http://x.org/a/b?c=d#e", { host: "x.org", path: "/a/b" }],
  ["https://X.org:8080", { host: "x.org", path: "/" }],
  ["http://x.org.:80/a", { host: "x.org", path: "/a" }],
  ["/a", { path: "/a" }],
  ["", undefined],
  ["x.org/a", undefined],
  ["ftp://x.org/", undefined],
  ["/a b", undefined],
  ["/a\n/b", undefined],
])("parses the request %j", (url, expected) => {
  const asked = parseAsked(url);
  expect(asked.ok ? asked.value : undefined).toEqual(expected);
});

describe("explains a request", () => {
  test("by its route, version and instances", () => {
    expect(explainText(ask("http://localhost/hello/x", hello))).toEqual([
      "http://localhost/hello/x: goes to one of 2 instances of hello/v2.",
      "route      /hello (looked up as */hello/)",
      "version    newest version with healthy instances",
      "           of hello/v1 (1 instance), hello/v2 (2 instances)",
      "           can be set in Consul's KV: service/haproxy/versions/hello",
      "path seen  /x, with X-Forwarded-Prefix: /hello",
      "backend    svc:hello:v2, balance roundrobin",
      "instance   10.0.0.1:2 of hello/v2, weight 100 (hello/v2:2)",
      "instance   10.0.0.1:3 of hello/v2, weight 100 (hello/v2:3)",
      "checks     not known",
    ]);
  });

  test("that the load balancer answers itself", () => {
    const everything = instance("root", 1, { meta: { path: "/" } });
    expect(explainText(ask("http://localhost/.well-known/switchyard/ready", [everything]))).toEqual([
      "http://localhost/.well-known/switchyard/ready: 200, the load balancer itself answers; 503 while it is not ready.",
      "checks     not known",
    ]);
  });

  test("by the shares of versions", () => {
    const found = ask("/hello", hello, { "service/haproxy/versions/hello": "v1=90,v2=10" });
    expect(found.targets.map(({ service, share }) => [service, share])).toEqual([
      ["hello/v1", 90],
      ["hello/v2", 10],
    ]);
    expect(found.why).toBe("goes to one of 3 instances of hello/v1 or hello/v2");
  });

  test("by the longest wildcard that covers its host", () => {
    const instances = ["*.example.com", "*.b.example.com,x.org", "b.example.com"].map((host, index) =>
      instance(`s${index}`, index + 1, { meta: { host, path: "/" } }),
    );
    const routes = (host: string) => {
      const { route } = ask(`http://${host}/x`, instances);
      return [route?.url, ...(route?.instead ?? [])];
    };
    expect(routes("a.b.example.com")).toEqual(["*.b.example.com/", "*.example.com/"]);
    expect(routes("b.example.com")).toEqual(["b.example.com/", "*.example.com/"]);
    expect(routes("x.org")).toEqual(["x.org/"]);
    expect(routes("example.com")).toEqual([undefined]);
  });

  test("by a route for its host before a longer one", () => {
    const found = ask("http://x.org:81/a/b", [
      instance("a/b", 1),
      instance("c", 2, { meta: { host: "x.org", path: "/a" } }),
    ]);
    expect(found).toMatchObject({
      answer: "proxied",
      route: { url: "x.org/a", instead: ["/a/b"], seen: "/b", prefix: "/a" },
    });
  });

  test.each<[string, Partial<Instance>, RegExp]>([
    ["critical", { healthy: false }, /^critical/],
    ["starting", { warning: true }, /^starting/],
    ["without a routing tag", { tags: ["other"] }, /none of the tags rest, http, tcp: its tags are "other"/],
    ["with an invalid option", { meta: { weight: "heavy" } }, /^quarantined: .*SERVICE_WEIGHT="heavy"/],
    ["with an invalid address", { address: "localhost" }, /^quarantined: .*is not an IP address/],
    [
      "with a name that is not resolved",
      { address: "a.example.com" },
      /^quarantined: .*"a.example.com", which has not been resolved yet/,
    ],
    ["tagged tcp", { tags: ["tcp"], meta: { tcp_port: "25" } }, /^quarantined: it is tagged tcp/],
  ])("without an instance that is %s", (_, given, why) => {
    const found = ask("/a", [instance("a", 1), instance("a", 2), instance("a", 3, given)]);
    expect(found.targets[0]?.instances).toHaveLength(2);
    expect(found.targets[0]?.leftOut).toEqual([expect.objectContaining({ id: "a:3", node: "n" })]);
    expect(found.targets[0]?.leftOut[0]?.why).toMatch(why);
  });

  test("with an instance of weight 0, which gets no requests", () => {
    const found = ask("/a", [instance("a", 1, { meta: { weight: "0" } })]);
    expect(found.answer).toBe(503);
    expect(found.targets[0]?.instances[0]?.but).toContain("weight is 0");
  });

  test("with instances that fail the load balancer's own checks, which get no requests", () => {
    const [address, weight, ids] = ["10.0.0.1:2", 100, ["hello/v2:2"]];
    const instances: InstanceStatuses = new Map([
      ["hello/v2 10.0.0.1:2", { ids, address, weight, state: "down", check: "refuses connections" }],
      ["hello/v2 10.0.0.1:3", { ids, address, weight, state: "up" }],
      ["hello/v1 10.0.0.1:1", { ids, address, weight, state: "starting" }],
    ]);
    const catalog = { instances: hello, kv: {} };
    const textFor = (path: string) =>
      explainText(explain({ path }, catalog, buildRouting(catalog), { source: "known", instances })).join(
        "\n",
      );
    expect(textFor("/hello")).toMatch(/^\/hello: goes to the instance of hello\/v2\.$/m);
    expect(textFor("/hello")).toMatch(
      /10\.0\.0\.1:2 .*gets no requests: .*finds it down: refuses connections/,
    );
    expect(textFor("/hello/v1")).toMatch(/^\/hello\/v1: 503, /);
    expect(textFor("/hello/v1")).toContain("has not passed a health check of the load balancer yet");
  });

  test("with an unusable KV value", () => {
    const lines = explainText(ask("/hello", hello, { "service/haproxy/versions/hello": "v1=50" }));
    expect(lines.join("\n")).toMatch(/KV: service.*\n +The KV value "v1=50" of .* is neither a version/);
  });

  test("with the prefix stripped or not, as the answering version decides", () => {
    const mixed = [instance("hello/v1", 1, { meta: { strip_prefix: "false" } }), instance("hello/v2", 2)];
    expect(ask("/hello/x", mixed)).toMatchObject({ route: { seen: "/x", prefix: "/hello" } });
    const pinned = ask("/hello/x", mixed, { "service/haproxy/versions/hello": "v1" });
    expect(pinned).toMatchObject({ route: { seen: "/hello/x" } });
  });
});

describe("a service that is scaled", () => {
  const decisions = new Map(scaling.services.map((service) => [service.name, service]));
  const lines = (path: string) =>
    explainText(
      explain({ path }, scaledCatalog, buildRouting(scaledCatalog), {
        source: "known",
        scaling: decisions,
        limits: new Map(scaling.limits?.map((each) => [each.name, each])),
      }),
    );
  test("says that a request waits while it sleeps", () => {
    expect(lines("/a/x")).toEqual([
      "/a/x: waits until a is awake, for at most 30 s; a health check gets 200 at once.",
      "route      /a (looked up as */a/)",
      "path seen  /x, with X-Forwarded-Prefix: /a",
      "backend    svc:a, balance roundrobin",
      "asleep     a has no instance until a request comes",
      "autoscaler 0 to 20 instances, 0 now, 0 wanted: no request for 5 min",
      "checks     known",
    ]);
  });
  test("says what its limits are and should be", () => {
    expect(lines("/b").join("\n")).toContain(
      [
        "limits     memory auto, 128 MiB, recommended 96 MiB (80 MiB to 140 MiB)",
        "           cpus without a limit, recommended 0.5 (0.25 to 2)",
        '           "memory waits for <i>\\u202e"',
      ].join("\n"),
    );
  });
  test("says why it has so many instances", () => {
    expect(lines("/b")).toContain(
      "autoscaler 0 to 20 instances, 2 now, 3 wanted: 42 concurrent, target 21 at 70 %: 3",
    );
    expect(lines("/b").join("\n")).toContain(`1 -> 2: "<b>\\u202e"`);
  });
});

describe("a path parameter belongs to its segment", () => {
  const whole = instance("whole", 9, { meta: { strip_prefix: "false" } });
  test.each([
    ["/hello/v1;jsessionid=1", "hello/v1", "/;jsessionid=1"],
    ["/hello/v1;a=1/x;b=2", "hello/v1", "/;a=1/x;b=2"],
    ["/hello/v1/x;a=1/y;b=2", "hello/v1", "/x;a=1/y;b=2"],
    ["/hello;a=1/v1;b=2/x;c=3/y;d=4", "hello/v1", "/x/y;d=4"],
    ["/hello;a=1/v1;b=2", "hello/v1", "/;b=2"],
    ["/hello;v1", "hello/v2", "/;v1"],
    ["/hello;", "hello/v2", "/;"],
    ["/whole;a=1/x;b=2", "whole", "/whole;a=1/x;b=2"],
  ])("%s goes to %s, which sees %s", (path, service, seen) => {
    const found = ask(path, [...hello, whole]);
    expect(found.targets[0]?.service).toBe(service);
    expect(found.route?.seen).toBe(seen);
  });
  test.each(["/hello/v9;a=1", "/hello/v1%3Ba=1", "/hello/%76%31;a=1", "/hello%3Bv1", "/;/hello"])(
    "%s: 404",
    (path) => {
      expect(ask(path, hello)).toMatchObject({ answer: 404 });
    },
  );
});

describe("the header X-Version", () => {
  const withVersion = (version: string, url = "/hello/x", instances: readonly Instance[] = hello) => {
    const asked = parseAsked(url);
    if (!asked.ok) throw new Error(asked.error);
    const catalog = { instances, kv: {} };
    return explain({ ...asked.value, version }, catalog, buildRouting(catalog), unknown);
  };
  test("chooses a version below the matching route", () => {
    expect(withVersion("v1")).toMatchObject({
      answer: "proxied",
      why: "goes to the instance of hello/v1",
      route: { url: "/hello", seen: "/x", prefix: "/hello" },
      targets: [{ service: "hello/v1" }],
    });
  });
  test("leaves it to that version whether the prefix is stripped", () => {
    const mixed = [instance("hello/v1", 1, { meta: { strip_prefix: "false" } }), instance("hello/v2", 2)];
    expect(withVersion("v1", "/hello/x", mixed).route?.seen).toBe("/hello/x");
    expect(withVersion("v2", "/hello/x", mixed).route?.seen).toBe("/x");
  });
  test.each(["v9,v1", "v9, v1"])("%j: the last of several values counts, as in HAProxy", (version) => {
    expect(withVersion(version).targets[0]?.service).toBe("hello/v1");
  });
  test.each(["v7", "latest", "", "v1,v7"])("%j names no version: 404", (version) => {
    expect(withVersion(version).answer).toBe(404);
  });
  test("is ignored if the path names a version", () => {
    expect(withVersion("v1", "/hello/v2").targets[0]?.service).toBe("hello/v2");
  });
});

describe("explains a request that gets an error", () => {
  test.each(["/hello/v9", "/hello/v9/x", "/hello/%76%31", "/hello/%761/x"])(
    "404: %s names a missing version, and no other version answers instead",
    (path) => {
      expect(ask(path, hello)).toMatchObject({ answer: 404, route: { url: "/hello" } });
    },
  );

  test("404: the KV value names a missing version", () => {
    const found = ask("/hello/x", hello, { "service/haproxy/versions/hello": "v9" });
    expect(found).toMatchObject({ answer: 404, route: { url: "/hello" }, targets: [] });
    expect(explainText(found).join("\n")).toMatch(
      /no version that the KV value names.*names v9, but no service hello\/v9/s,
    );
  });

  test("an invalid escape is not decoded, and so names no version", () => {
    expect(ask("/hello/%761%", hello).targets[0]?.service).toBe("hello/v2");
  });

  test("503: no instance is healthy", () => {
    const found = ask("/a", [instance("a", 1, { healthy: false })]);
    expect(found).toMatchObject({ answer: 503, why: "no instance of a takes requests" });
    expect(found.targets[0]?.leftOut[0]?.why).toMatch(/^critical/);
  });

  test("404: the version does not exist", () => {
    const found = ask("/hello/v7/x", [...hello, instance("hello/v7", 9, { meta: { balance: "best" } })]);
    expect(found).toMatchObject({ answer: 404, related: [{ subject: "hello/v7" }] });
    expect(found.why).toContain('hello has no version "v7"');
    expect(found.related[0]?.why).toContain('SERVICE_BALANCE="best"');
  });

  test.each<[string, Instance, RegExp]>([
    ["has no tag", instance("a", 1, { tags: [] }), /none of the tags/],
    [
      "has almost the right tag",
      instance("a", 1, { tags: ["REST"] }),
      /unrouted: .*write rest in SERVICE_TAGS/,
    ],
    ["is UDP", instance("a", 1, { tags: ["rest", "udp"] }), /UDP/],
    [
      "answers for another host",
      instance("a", 1, { meta: { host: "x.org" } }),
      /answers for host x.org only/,
    ],
  ])("404: a service of that name %s", (_, given, why) => {
    const found = ask("http://localhost/a/b", [given]);
    expect(found.answer).toBe(404);
    expect(found.related[0]?.why).toMatch(why);
  });

  const notice = { container: "web", service: "a", why: "its port 80 is not published" };
  const told = instance(noticeService, 0, { tags: [], meta: writeNotices([notice]) });

  test("404: Registrator saw a container that it could not register", () => {
    const found = ask("/a/b", [told]);
    expect(found).toMatchObject({ answer: 404, related: [{ subject: "a" }] });
    expect(explainText(found).at(-1)).toMatch(
      /^perhaps +a: unrouted: Container "web" on node "n" .*, because its port 80 is not published\.$/,
    );
    expect(ask("/b", [told]).related).toEqual([]);
  });

  test("without a container that Registrator could not register", () => {
    expect(ask("/a", [instance("a", 1), told]).targets[0]?.leftOut).toEqual([
      { id: "web", node: "n", address: "-", why: "unrouted: its port 80 is not published" },
    ]);
  });

  test("404: the path belongs to another service", () => {
    const found = ask("/b", [instance("a", 1), instance("b", 2, { meta: { path: "/a" } })]);
    expect(found.related[0]?.why).toContain("which a already has");
  });

  test("404: nothing is similar; /hello/v1 is not /hello/v10", () => {
    expect(ask("/hello/v10", [instance("hello/v1", 1)])).toMatchObject({ answer: 404, related: [] });
  });
});

test("explains the route that HAProxy looks up, and prints nothing harmful", () => {
  const names = fc.constantFrom("a", "b", "hello", "v1", "v2", "v10", "x", "y", "api", "v3");
  const segments = fc.tuple(names, fc.constantFrom("", "", "", ";", ";v1", ";a=1;b"));
  fc.assert(
    fc.property(
      catalogs,
      fc.array(segments, { maxLength: 4 }),
      fc.constantFrom(undefined, "x.org", "localhost", "a.example.com"),
      (catalog, parts, host) => {
        const routing = buildRouting(catalog);
        const path = `/${parts.map((part) => part.join("")).join("/")}`;
        const matched = `/${parts.map(([name]) => name).join("/")}`;
        const explanation = explain(
          { path, ...(host === undefined ? {} : { host }) },
          catalog,
          routing,
          unknown,
        );
        // map_beg finds the longest key that the text begins with, for one host after the other.
        const keys = [...render(routing, renderOptions).maps["routes.map"].keys()];
        const longest = (text: string) =>
          keys.filter((key) => text.startsWith(key)).sort((a, b) => b.length - a.length)[0];
        const key = hostsLookedUp(host ?? "")
          .map((each) => longest(`${each}${matched}/`))
          .find((found) => found !== undefined);
        expect(explanation.route?.key).toBe(key);
        for (const line of explainText(explanation))
          expect(line).toMatch(/^[^\p{Cc}\u2028-\u202e\u2066-\u2069]*$/u);
      },
    ),
    { numRuns: 500 },
  );
});
