import { describe, expect, test } from "vitest";
import { describeRouting, plannedInstance } from "./planned";
import { buildRouting } from "./build";
import { tlsOf } from "./options/proto";
import type { Instance, Resolution, Routing } from "./types";

let nextPort = 0;
const instance = (service: string, given: Partial<Instance> = {}): Instance => ({
  service,
  id: `${service}-${nextPort++}`,
  node: "n1",
  address: "10.0.0.1",
  port: 30_000 + (nextPort % 1000),
  tags: ["rest"],
  meta: {},
  healthy: true,
  ...given,
});
const route = (instances: Instance[], kv: Record<string, string> = {}): Routing =>
  buildRouting({ instances, kv });
const urls = (routing: Routing) => describeRouting(routing);
const quarantined = (routing: Routing) => routing.problems.filter(({ level }) => level === "quarantined");
const messages = (routing: Routing) => routing.problems.map(({ message }) => message);

describe("services", () => {
  test("answer at their names", () => {
    expect(urls(route([instance("hello"), instance("a/b")]))).toEqual(["/a/b -> a/b", "/hello -> hello"]);
  });

  test("without a routing tag are ignored silently", () => {
    const routing = route([instance("consul", { tags: [] }), instance("bad name", { tags: ["x"] })]);
    expect(urls(routing)).toEqual([]);
    expect(routing.problems).toEqual([]);
  });

  test("keep their routes without healthy instances", () => {
    const routing = route([instance("hello", { healthy: false, id: "x", port: 80 })]);
    expect(urls(routing)).toEqual(["/hello -> hello"]);
    expect(routing.backends[0]).toMatchObject({
      servers: [],
      unhealthy: [{ id: "x", servers: ["10.0.0.1:80"], check: "critical" }],
    });
  });

  test("use instances that Consul warns about only while no instance passes", () => {
    const warned = instance("hello", { warning: true, id: "starting", port: 1 });
    const alone = route([warned]);
    expect(alone.backends[0]).toMatchObject({ warning: true, servers: [{ ids: ["starting"] }] });
    const both = route([warned, instance("hello", { id: "passing", port: 2 })]);
    expect(both.backends[0]).toMatchObject({
      warning: false,
      servers: [{ ids: ["passing"] }],
      unhealthy: [{ id: "starting", servers: ["10.0.0.1:1"], check: "warning" }],
    });
  });

  test("answer at each of their paths on each of their hosts", () => {
    const routing = route([instance("a", { meta: { host: "x.org,*.x.org", path: "/,/old" } })]);
    expect(urls(routing)).toEqual(["*.x.org/ -> a", "*.x.org/old -> a", "x.org/ -> a", "x.org/old -> a"]);
  });

  test("get all of their routes or none", () => {
    const routing = route([
      instance("a", { meta: { host: "b.org", path: "/" }, createIndex: 1 }),
      instance("b", { meta: { host: "a.org,b.org", path: "/" }, createIndex: 2 }),
      instance("c", { meta: { host: "*.org", path: "/" }, createIndex: 3 }),
    ]);
    expect(urls(routing)).toEqual(["*.org/ -> c", "b.org/ -> a"]);
    expect(messages(routing)).toEqual([
      "Service b wants b.org/, which a already has: give one of them another SERVICE_PATH, SERVICE_HOST or SERVICE_NAME.",
    ]);
  });

  test("take host, path and TCP port from meta", () => {
    expect(
      urls(
        route([
          instance("a", { meta: { host: "api.example.com", path: "/" } }),
          instance("b", { meta: { path: "/x/y" } }),
          instance("c", { tags: ["tcp"], meta: { tcp_port: "5432" } }),
        ]),
      ),
    ).toEqual(["/x/y -> b", "api.example.com/ -> a", "tcp port 5432 -> c"]);
  });

  test("get one server for two registrations of one address", () => {
    const twice = [instance("a", { id: "1", port: 80 }), instance("a", { id: "2", port: 80 })];
    expect(route(twice).backends[0]?.servers).toMatchObject([{ name: "10.0.0.1:80", ids: ["1", "2"] }]);
  });

  const consul = (passing: number, warning = 1) => ({ weights: { passing, warning } });
  const meta = (weight: string) => ({ meta: { weight } });
  test.each<[string, Partial<Instance>[], number[]]>([
    ["as they are", [consul(10), consul(90)], [10, 90]],
    ["1 for an instance without", [consul(10), {}], [10, 1]],
    ["times 100 if they fit", [consul(2), {}], [200, 100]],
    ["in proportion if they are large", [consul(300), consul(65_535), consul(30_000)], [1, 256, 117]],
    ["after the option", [{ ...consul(10), ...meta("7") }, {}], [7, 100]],
    ["beside the option", [consul(10), meta("50"), meta("0")], [256, 13, 0]],
    [
      "for warnings while no instance passes",
      [{ ...consul(10, 3), warning: true }, { warning: true }],
      [3, 1],
    ],
    ["at least 1 for warnings", [{ ...consul(10, 0), warning: true }], [100]],
  ])("get Consul's weights: %s", (_, given, expected) => {
    const instances = given.map((each, index) => instance("a", { port: index + 1, ...each }));
    expect(route(instances).backends[0]?.servers.map(({ weight }) => weight)).toEqual(expected);
  });

  test("get the options of the majority of their instances", () => {
    const routing = route([
      instance("a", { meta: { path: "/new" } }),
      instance("a"),
      instance("a", { meta: { weight: "7" } }),
    ]);
    expect(urls(routing)).toEqual(["/a -> a"]);
    expect(routing.backends[0]?.servers.map(({ weight }) => weight).sort()).toEqual([100, 100, 7]);
    expect(messages(routing)).toEqual([
      expect.stringContaining("Instances of a have different SERVICE_ options"),
    ]);
  });

  test("get the options of the serving instances, regardless of dead ones", () => {
    const old = (given: Partial<Instance>) => instance("a", { meta: { path: "/old" }, ...given });
    const renewed = (given: Partial<Instance> = {}) => instance("a", { meta: { path: "/new" }, ...given });
    const dead = [old({ healthy: false }), old({ healthy: false }), old({ healthy: false })];
    const routing = route([...dead, renewed()]);
    expect(urls(routing)).toEqual(["/new -> a"]);
    expect(messages(routing)).toEqual([
      expect.stringContaining("Instances of a have different SERVICE_ options"),
    ]);
    const starting = renewed({ warning: true });
    expect(urls(route([...dead, starting]))).toEqual(["/new -> a"]);
    expect(urls(route([old({}), starting, renewed({ warning: true })]))).toEqual(["/old -> a"]);
    expect(urls(route([...dead, renewed({ healthy: false })]))).toEqual(["/old -> a"]);
  });
});

describe("instances that were probably meant to be routed", () => {
  test.each(['"rest"', "'http'", "REST", " rest", "Tcp", "rest "])("are named if their tag is %j", (tag) => {
    const routing = route([instance("x", { tags: ["web", tag] }), instance("other")]);
    expect(urls(routing)).toEqual(["/other -> other"]);
    expect(routing.problems).toMatchObject([{ level: "unrouted", subject: "x" }]);
    expect(messages(routing)[0]).toContain(`has the tag ${JSON.stringify(tag)}`);
  });

  test("are not those with other tags, or with the right tag as well", () => {
    const routing = route([
      instance("x", { tags: ["restful", "interest"] }),
      instance("y", { tags: ["REST", "rest"] }),
    ]);
    expect(urls(routing)).toEqual(["/y -> y"]);
    expect(routing.problems).toEqual([]);
  });

  test("are named if they are UDP and ask for load balancing, beside a TCP port of the same name", () => {
    const tcp = { tags: ["tcp"], meta: { tcp_port: "53" } };
    const routing = route([
      instance("dns", tcp),
      instance("dns", { ...tcp, tags: ["tcp", "udp"] }),
      instance("quiet", { tags: ["udp"] }),
    ]);
    expect(urls(routing)).toEqual(["tcp port 53 -> dns"]);
    expect(routing.backends[0]?.servers).toHaveLength(1);
    expect(routing.problems).toMatchObject([{ level: "unrouted", subject: "dns" }]);
    expect(messages(routing)[0]).toContain("is UDP, which HAProxy does not balance");
  });

  test("are named safely", () => {
    const [message = ""] = messages(route([instance("a\nb", { id: "\u202e", tags: ["REST"] })]));
    expect(message).toMatch(/^Service "a\\nb" \(instance "\\u202e"\) has the tag "REST", which is not rest/);
  });
});

describe("quarantine", () => {
  test.each<[string, Partial<Instance>, string]>([
    ["a b", {}, 'Service name "a b" is not a service name'],
    ["x", { meta: { balance: "fastest" } }, 'SERVICE_BALANCE="fastest", which is none of roundrobin'],
    ["x", { meta: { weight: "300" } }, 'SERVICE_WEIGHT="300", which is not a whole number from 0 to 256'],
    ["x", { meta: { health_path: "/a\nb" } }, 'SERVICE_HEALTH_PATH="/a\\nb", which is not a path to ask for'],
    ["x", { meta: { proto: "h3" } }, 'SERVICE_PROTO="h3", which is none of h2c, h1'],
    ["x", { tags: ["tcp"] }, "set SERVICE_TCP_PORT"],
    ["x", { tags: ["tcp", "rest"] }, "keep one in SERVICE_TAGS"],
    ["x", { tags: ["tcp"], meta: { tcp_port: "80", path: "/" } }, "SERVICE_PATH means nothing"],
    ["x", { meta: { tcp_port: "80" } }, "needs tag tcp"],
    ["x", { address: "db" }, 'address "db", which is not an IP address'],
    ["x", { port: 0 }, "has port 0"],
  ])("of %j with %j", (service, given, reason) => {
    const routing = route([instance(service, given), instance("other")]);
    expect(urls(routing)).toEqual(["/other -> other"]);
    expect(quarantined(routing)).toHaveLength(1);
    expect(quarantined(routing)[0]?.message).toContain(reason);
  });

  test("of one bad instance leaves the others alone", () => {
    const routing = route([instance("a"), instance("a", { meta: { sticky: "perhaps" } })]);
    expect(routing.backends[0]?.servers).toHaveLength(1);
    expect(quarantined(routing)).toHaveLength(1);
  });

  test("of the alphabetically second name if two want the same route or port", () => {
    const routing = route([
      instance("z", { meta: { path: "/a" } }),
      instance("a"),
      instance("c", { tags: ["tcp"], meta: { tcp_port: "25" } }),
      instance("d", { tags: ["tcp"], meta: { tcp_port: "25" } }),
    ]);
    expect(urls(routing)).toEqual(["/a -> a", "tcp port 25 -> c"]);
    expect(quarantined(routing).map(({ subject }) => subject)).toEqual(["d", "z"]);
  });

  test("of a service that wants the base name of versions, even if it is older", () => {
    const routing = route([
      instance("a", { meta: { path: "/shop" }, createIndex: 1 }),
      instance("b", { meta: { path: "/shop", host: "x.org" } }),
      instance("shop/v1", { createIndex: 9 }),
      instance("shop/v2", { createIndex: 9 }),
    ]);
    expect(urls(routing)).toContain("/shop -> shop/v2 (newest version with healthy instances)");
    expect(urls(routing)).toContain("x.org/shop -> b");
    expect(quarantined(routing)).toEqual([
      expect.objectContaining({
        subject: "a",
        message: expect.stringContaining("wants /shop, which a version of shop already has") as string,
      }),
    ]);
  });

  test("of the service registered later, regardless of its name", () => {
    const path = { meta: { path: "/x" } };
    const port = { tags: ["tcp"], meta: { tcp_port: "25" } };
    const instances = [
      instance("alpha", { ...path, createIndex: 9 }),
      instance("zeta", { ...path, createIndex: 5 }),
      instance("zeta", { ...path, createIndex: 12 }),
      instance("aaa", port),
      instance("postgres", { ...port, createIndex: 7 }),
      // The service is older than all others, but its claim to the path is not.
      instance("turncoat", { createIndex: 1, healthy: false }),
      instance("turncoat", { ...path, createIndex: 8 }),
      instance("turncoat", { ...path, createIndex: 8 }),
    ];
    const routing = route(instances);
    expect(urls(routing)).toEqual(["/x -> zeta", "tcp port 25 -> postgres"]);
    expect(quarantined(routing).map(({ subject }) => subject)).toEqual(["aaa", "alpha", "turncoat"]);
    expect(urls(route(instances.filter(({ service }) => service !== "zeta")))).toContain("/x -> turncoat");
  });

  test("of a TCP service that wants one of the load balancer's own ports", () => {
    const instances = [instance("c", { tags: ["tcp"], meta: { tcp_port: "80" } })];
    const routing = buildRouting(
      { instances, kv: {} },
      { reservedPorts: new Map([[80, "the HTTP frontend"]]) },
    );
    expect(messages(routing)).toEqual([expect.stringContaining("which the HTTP frontend already has")]);
  });
});

describe("versions", () => {
  const v = (number: number, healthy = true) => instance(`hello/v${number}`, { healthy });
  const key = "service/haproxy/versions/hello";
  const alias = (routing: Routing) => urls(routing).filter((url) => url.startsWith("/hello ->"));

  test("skip one that Consul still warns about, for example while it starts", () => {
    const starting = instance("hello/v2", { warning: true });
    expect(alias(route([v(1), starting]))).toEqual([
      "/hello -> hello/v1 (newest version with healthy instances)",
    ]);
  });

  test("are compared by number; the newest with healthy instances answers", () => {
    expect(alias(route([v(2), v(10), v(11, false)]))).toEqual([
      "/hello -> hello/v10 (newest version with healthy instances)",
    ]);
  });

  test("answer once they pass a probe, if another version has passed one", () => {
    const instances = [v(1), instance("hello/v2", { port: 80 })];
    const chosen = (...proven: string[]) =>
      alias(buildRouting({ instances, kv: {} }, { proven: new Set(proven) }))
        .join()
        .slice(10, 18);
    const first = `svc:hello:v1/10.0.0.1:${instances[0]?.port ?? 0}`;
    expect(chosen(first)).toBe("hello/v1");
    expect(chosen(first, "svc:hello:v2/10.0.0.1:80")).toBe("hello/v2");
    expect(chosen()).toBe("hello/v2");
  });

  test("answer only while HAProxy finds an instance up, if one of another version is up", () => {
    const instances = [v(1), instance("hello/v2", { port: 80 }), instance("hello/v2", { port: 81 }), v(3)];
    const server = (number: number, port: number) => `svc:hello:v${number}/10.0.0.1:${port}`;
    const first = server(1, instances[0]?.port ?? 0);
    const seconds = [server(2, 80), server(2, 81)];
    const options = { proven: new Set([first, ...seconds]) };
    const chosen = (value: string | undefined, ...down: string[]) =>
      alias(
        buildRouting(
          { instances, kv: value === undefined ? {} : { [key]: value } },
          { ...options, down: new Set(down) },
        ),
      )[0]?.slice("/hello -> ".length);
    expect(chosen(undefined)).toMatch(/^hello\/v2 /);
    expect(chosen(undefined, server(2, 80))).toMatch(/^hello\/v2 /);
    expect(chosen(undefined, ...seconds)).toBe("hello/v1 (newest version with healthy instances)");
    // If none is up, a version that has answered before is a better guess than one that never has.
    expect(chosen(undefined, first, ...seconds)).toBe(
      "hello/v2 (newest version that has answered; none does at present)",
    );
    expect(chosen(undefined)).toMatch(/^hello\/v2 /);
    expect(chosen("v1=10,v2=90", ...seconds)).toMatch(/^hello\/v1 /);
    expect(chosen("v1=10,v2=90")).toMatch(/^10% hello\/v1, 90% hello\/v2 /);
    expect(chosen("v2", ...seconds)).toMatch(/^hello\/v2 /);
  });

  test("skip one whose instances all have weight 0, alone or in a split", () => {
    const parked = instance("hello/v2", { meta: { weight: "0" } });
    expect(alias(route([v(1), parked]))).toEqual([
      "/hello -> hello/v1 (newest version with healthy instances)",
    ]);
    const [split] = alias(route([v(1), parked], { "service/haproxy/versions/hello": "v1=10,v2=90" }));
    expect(split).toMatch(/^\/hello -> hello\/v1 \(/);
  });

  const unready = { meta: { weight: "0" } };
  test.each<[string, readonly Partial<Instance>[], ReadonlySet<string> | undefined, string]>([
    ["no instance", [unready, unready], undefined, "none has an instance that takes requests"],
    ["one version, without an instance", [unready], undefined, "none has an instance that takes requests"],
    ["warnings", [{ warning: true }, { warning: true }], undefined, "Consul warns of all"],
    ["no answer yet", [{}, {}], new Set(), "none has answered yet"],
  ])("state why the newest one was chosen: %s", (_, given, proven, expected) => {
    const instances = given.map((each, index) => instance(`hello/v${index + 1}`, each));
    const routing = buildRouting({ instances, kv: {} }, proven === undefined ? {} : { proven });
    expect(routing.routes.find(({ versionsOf }) => versionsOf === "hello")).toMatchObject({
      choice: expect.stringContaining(expected) as string,
      targets: [{ service: `hello/v${given.length}` }],
    });
  });

  test("give way to a service with the base name", () => {
    expect(alias(route([v(1), instance("hello")]))).toEqual(["/hello -> hello"]);
  });

  test("answer on each of their hosts, with the versions that are there", () => {
    const kv = { "service/haproxy/versions/hello": "v1=50,v2=50" };
    const routing = route(
      [
        instance("hello/v1", { meta: { host: "*.example.com,x.org" } }),
        instance("hello/v2", { meta: { host: "x.org" } }),
      ],
      kv,
    );
    expect(urls(routing).filter((url) => !url.includes("/v1 ->") && !url.includes("/v2 ->"))).toEqual([
      "*.example.com/hello -> hello/v1 (set by KV: v1=50,v2=50)",
      "x.org/hello -> 50% hello/v1, 50% hello/v2 (set by KV: v1=50,v2=50)",
    ]);
    expect(messages(routing)).toEqual([
      expect.stringContaining("names v2, but no service hello/v2 is registered for host *.example.com:"),
    ]);
  });

  test("are grouped by host", () => {
    const routing = route([v(1), instance("hello/v2", { meta: { host: "x.org" } })]);
    expect(urls(routing).filter((url) => url.includes("newest"))).toEqual([
      "/hello -> hello/v1 (newest version with healthy instances)",
      "x.org/hello -> hello/v2 (newest version with healthy instances)",
    ]);
  });

  test.each([
    ["v1", "hello/v1"],
    ["v1=90,v2=10", "90% hello/v1, 10% hello/v2"],
    ["v1=50,v3=50", "hello/v1"],
    ["v9", "nothing"],
  ])("are chosen by the KV value %s", (value, expected) => {
    const [shown] = alias(route([v(1), v(2), v(3, false)], { [key]: value }));
    expect(shown).toMatch(new RegExp(`^/hello -> ${expected} \\(set by KV`));
  });

  test.each(["", "1", "v1,v2", "v1=90,v2=20", "v1=100,v1=0", "v1=101", "v1\nv2", "v01"])(
    "reject the KV value %j",
    (value) => {
      const routing = route([v(1), v(2)], { [key]: value });
      expect(alias(routing)).toEqual(["/hello -> hello/v2 (newest version with healthy instances)"]);
      expect(messages(routing)).toEqual([expect.stringContaining(`of ${key} is neither`)]);
    },
  );

  test("keep the last usable KV value until the key is removed", () => {
    const instances = [v(1), v(2)];
    const then = (lastGood: Routing, value?: string) =>
      buildRouting({ instances, kv: value === undefined ? {} : { [key]: value } }, { lastGood });
    const pinned = route(instances, { [key]: "v1" });
    const unusable = then(pinned, "v1\n");
    expect(alias(unusable)).toEqual(["/hello -> hello/v1 (last usable value of KV: v1=100)"]);
    expect(messages(unusable)).toEqual([
      expect.stringMatching(
        /^The KV value "v1\\n" of .* v1 stays in force\. Set it with: consul kv put .* v1$/,
      ),
    ]);
    expect(alias(then(unusable, ""))).toEqual(alias(unusable));
    expect(alias(then(unusable, "v2"))).toEqual(["/hello -> hello/v2 (set by KV: v2=100)"]);
    const unset = then(unusable);
    expect(alias(unset)).toEqual(["/hello -> hello/v2 (newest version with healthy instances)"]);
    expect(alias(then(unset, "v1\n"))).toEqual(alias(unset));
  });

  test("warn when the KV value names a version that does not exist", () => {
    expect(messages(route([v(1)], { [key]: "v9" }))).toEqual([
      expect.stringContaining("no service hello/v9"),
    ]);
  });
});

describe("settings", () => {
  test("come from KV, and an unusable value changes nothing", () => {
    const kv = { "service/haproxy/maxconn": "100", "service/haproxy/timeouts/server": "soon" };
    const first = route([], kv);
    expect(first.settings).toEqual({
      maxconn: 100,
      connectTimeoutMs: 5000,
      clientTimeoutMs: 50000,
      serverTimeoutMs: 50000,
      headerBytes: 32768,
      headerFields: 200,
    });
    expect(messages(first)).toEqual([
      expect.stringContaining("consul kv put service/haproxy/timeouts/server 50000"),
    ]);
    const then = buildRouting({ instances: [], kv: { "service/haproxy/maxconn": "0" } }, { lastGood: first });
    expect(then.settings.maxconn).toBe(100);
  });

  test.each([
    ["bytes", "16384", 16_384],
    ["bytes", "131072", 131_072],
    ["bytes", "16383", 32_768],
    ["bytes", "64k", 32_768],
    ["bytes", "131073", 32_768],
    ["fields", "100", 100],
    ["fields", "1000", 1_000],
    ["fields", "99", 200],
    ["fields", "1001", 200],
  ])("headers/%s %s gives %d", (key, value, expected) => {
    const { settings, problems } = route([], { [`service/haproxy/headers/${key}`]: value });
    expect(key === "bytes" ? settings.headerBytes : settings.headerFields).toBe(expected);
    expect(problems).toHaveLength(Number(value) === expected ? 0 : 1);
  });

  test("a maxconn that needs more files than HAProxy may open is rejected with the cure", () => {
    const read = (maxconn: string, maxFiles: number) =>
      buildRouting({ instances: [], kv: { "service/haproxy/maxconn": maxconn } }, { maxFiles });
    expect(read("9750", 20_000)).toMatchObject({ settings: { maxconn: 9_750 }, problems: [] });
    const { settings, problems } = read("500000", 20_000);
    expect(settings.maxconn).toBe(4_096);
    expect(problems).toEqual([
      {
        level: "warning",
        subject: "service/haproxy/maxconn",
        message:
          "The KV value 500000 of service/haproxy/maxconn is more than the 9750 connections that fit the 20000 files which HAProxy may open here; 4096 stays in force. Start the load balancer with --ulimit nofile=1000500, or set it with: consul kv put service/haproxy/maxconn 4096",
      },
    ]);
  });
});

test("a preview finds the same conflicts", () => {
  const instances = [
    plannedInstance({ name: "a", type: "rest" }),
    plannedInstance({ name: "b", type: "http", meta: { path: "/a" } }),
  ];
  expect(messages(route(instances))).toEqual([
    expect.stringContaining("Service b wants /a, which a already has"),
  ]);
});

test("no service can take another's name by asking for its path", () => {
  const routing = route([instance("a-thief", { meta: { path: "/time" } }), instance("time")]);
  expect(urls(routing)).toEqual(["/time -> time"]);
  expect(quarantined(routing).map(({ subject }) => subject)).toEqual(["a-thief"]);
});

test("the order of registrations makes no difference", () => {
  const instances = [
    instance("a"),
    instance("b/v1"),
    instance("b/v2"),
    instance("c", { meta: { path: "/a" } }),
  ];
  expect(route([...instances].reverse())).toEqual(route(instances));
});

describe("a service whose authorities cannot be used", () => {
  const meta = { proto: "https", tls_ca: "own.pem", tls_server_name: "a.org" };
  const routed = (authorities?: ReadonlyMap<string, string | undefined>) =>
    buildRouting(
      { instances: [instance("a", { meta }), instance("b")], kv: {} },
      authorities && { authorities },
    );

  test.each<[string, ReadonlyMap<string, string | undefined>, string]>([
    ["missing", new Map(), "is not in the load balancer's folder of authorities"],
    ["unusable", new Map([["own.pem", "has no certificate"]]), "has no certificate"],
  ])("%s, is rejected alone", (_, authorities, why) => {
    const { backends, problems } = routed(authorities);
    expect(backends.map(({ service }) => service)).toEqual(["b"]);
    expect(problems).toEqual([
      { level: "quarantined", subject: "a", message: `Service a has SERVICE_TLS_CA=own.pem, which ${why}.` },
    ]);
  });

  test("is routed where they can be used, or where nothing is known about them", () => {
    expect(routed(new Map([["own.pem", undefined]])).problems).toEqual([]);
    expect(routed().problems).toEqual([]);
  });
});

describe("an instance with a name in DNS", () => {
  const named = instance("db", { id: "db-1", address: "DB.example.com", port: 5432 });
  const routed = (resolution?: Resolution, given: Instance = named) =>
    buildRouting(
      { instances: [given, instance("other")], kv: {} },
      resolution && { hostnames: new Map([["db.example.com", resolution]]) },
    );
  const backend = (routing: Routing) => routing.backends.find(({ service }) => service === "db");

  test("stands for one at each of its addresses", () => {
    const routing = routed({ addresses: ["10.0.0.1", "2001:db8::1"] });
    expect(routing.problems).toEqual([]);
    expect(backend(routing)?.servers).toEqual([
      {
        name: "10.0.0.1:5432",
        address: "10.0.0.1",
        hostname: "db.example.com",
        port: 5432,
        weight: 100,
        ids: ["db-1"],
      },
      {
        name: "ip6.2001:db8::1.5432",
        address: "2001:db8::1",
        hostname: "db.example.com",
        port: 5432,
        weight: 100,
        ids: ["db-1"],
      },
    ]);
  });

  test.each<[string, Resolution | undefined, string]>([
    ["not resolved yet", undefined, "which has not been resolved yet."],
    [
      "unknown to DNS",
      { addresses: [], problem: "ENOTFOUND" },
      "which cannot be resolved (ENOTFOUND): correct it, or its entry in DNS.",
    ],
  ])("%s, keeps its route without a server, and harms nobody else", (_, resolution, why) => {
    const routing = routed(resolution);
    expect(routing.routes.map(({ path }) => path)).toEqual(["/db", "/other"]);
    expect(backend(routing)).toMatchObject({ servers: [], unhealthy: [{ id: "db-1", check: "critical" }] });
    expect(routing.problems).toEqual([
      {
        level: "quarantined",
        subject: "db",
        message: `Service db (instance "db-1") has address "DB.example.com", ${why}`,
      },
    ]);
    expect([...routing.hostnames.keys()]).toEqual(["db.example.com"]);
  });

  test("is a warning while its last addresses are used", () => {
    const routing = routed({ addresses: ["10.0.0.1"], problem: "ETIMEOUT" });
    expect(backend(routing)?.servers).toHaveLength(1);
    expect(routing.problems.map(({ level }) => level)).toEqual(["warning"]);
  });

  test("follows another answer, and is the same object for the same one", () => {
    const [first, second] = [{ addresses: ["10.0.0.1"] }, { addresses: ["10.0.0.2"] }];
    const before = backend(routed(first));
    expect(backend(routed(first))).toBe(before);
    expect(backend(routed(second))?.servers.map(({ address }) => address)).toEqual(["10.0.0.2"]);
  });

  test("is unhealthy as a whole, and once", () => {
    const routing = routed({ addresses: ["10.0.0.1", "10.0.0.2"] }, { ...named, healthy: false });
    expect(backend(routing)?.servers).toEqual([]);
    expect(backend(routing)?.unhealthy).toEqual([
      { id: "db-1", servers: ["10.0.0.1:5432", "10.0.0.2:5432"], check: "critical" },
    ]);
  });

  test("is verified by its name", () => {
    const given = { ...named, meta: { proto: "https", host: "shop.example.com" } };
    expect(routed({ addresses: ["10.0.0.1"] }, given).problems).toEqual([]);
    expect(tlsOf({ proto: "https", host: "shop.example.com" }, "db.example.com")?.name).toBe(
      "db.example.com",
    );
    expect(tlsOf({ proto: "https", tlsServerName: "a.org" }, "db.example.com")?.name).toBe("a.org");
  });
});
