import { describe, expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import { Metrics } from "../metrics";
import { instance } from "../testing";
import { explain } from "./explain";
import { renderPage } from "./page";
import { buildStatus, type InstanceState, type StatusInput } from "./status";
import { scaledCatalog, scaling, serverState, statusInput } from "./testing";

describe("the state of an instance", () => {
  const catalog = { instances: [instance("a", 1)], kv: {} };
  test.each<[string, Partial<StatusInput>, InstanceState]>([
    ["HAProxy sends it requests", { states: [serverState("10.0.0.1:1", { up: true })] }, "up"],
    ["it has never answered", { states: [serverState("10.0.0.1:1")] }, "starting"],
    [
      "it answered before",
      { states: [serverState("10.0.0.1:1")], proven: new Set(["svc:a/10.0.0.1:1"]) },
      "down",
    ],
    ["it takes no new requests", { states: [serverState("10.0.0.1:1", { maintenance: true })] }, "leaving"],
    ["HAProxy does not answer", {}, "unknown"],
  ])("when %s", (_, given, expected) => {
    expect(buildStatus(statusInput(catalog, given)).services[0]?.instances[0]?.state).toBe(expected);
  });

  test("is leaving when it is gone from Consul but has open connections", () => {
    const status = buildStatus(
      statusInput(catalog, { states: [serverState("10.0.0.1:9", { maintenance: true })] }),
    );
    expect(status.services[0]?.instances[1]).toMatchObject({ address: "10.0.0.1:9", state: "leaving" });
  });

  test("is listed apart when its service is gone as well", () => {
    const gone = { ...serverState("10.0.0.1:9", { maintenance: true }), backend: "spare:3" };
    const status = buildStatus(statusInput(catalog, { states: [gone] }));
    expect(status.leaving).toEqual([{ backend: "spare:3", address: "10.0.0.1:9" }]);
    expect(renderPage(status)).toMatch(/<h2>Leaving<.*spare:3.*10\.0\.0\.1:9/s);
    expect(renderPage(buildStatus(statusInput(catalog)))).not.toContain("Leaving");
  });

  test("is held when Consul dropped it in a suspicious way", () => {
    const held = [{ instance: instance("a", 1), since: 0, why: "Consul was lost" }];
    const status = buildStatus(statusInput(catalog, { held }));
    expect(status.services[0]?.instances[0]?.held).toBe(true);
    expect(renderPage(status)).toContain("Consul dropped it in a suspicious way");
  });
});

describe("the autoscaler's decisions", () => {
  const status = buildStatus(statusInput(scaledCatalog, { scaling }));
  test("are those of each service, and a service without an instance is asleep", () => {
    const [a, b] = status.services;
    expect(a).toMatchObject({ name: "a", asleep: true, scaling: { max: 20, replicas: 0 } });
    expect(b).toMatchObject({ limits: { cpus: { target: 0.5 } } });
    expect(b).toMatchObject({ scaling: { wish: 3, reason: "42 concurrent, target 21 at 70 %: 3" } });
    expect(b).not.toHaveProperty("asleep");
    const { node, dry, at, nodesWanted } = scaling;
    expect(status.autoscaler).toEqual({ node, dry, at, nodesWanted });
    expect(new Metrics().text(status, 0)).toContain("switchyard_sleeping_services 1\n");
  });
  test("are on the page, whatever they contain", () => {
    const page = renderPage(status);
    for (const text of [
      "1 asleep, room for 2 more nodes wanted",
      "a request wakes it",
      "2 of 0 to 20 instances, 3 wanted: 42 concurrent, target 21 at 70 %: 3",
      "no room for 1",
      "no node has room",
      "memory auto, 128 MiB, recommended 96 MiB (80 MiB to 140 MiB)",
      "&quot;memory waits for &lt;i&gt;\\u202e&quot;",
      "1 → 2: &quot;&lt;b&gt;\\u202e&quot;",
    ])
      expect(page.replace(/\s+/g, " ")).toContain(text);
    expect(renderPage(buildStatus(statusInput(scaledCatalog)))).not.toContain("wanted");
  });
});

describe("a job", () => {
  const time = "2026-11-29T03:00:08.000Z";
  const job = {
    name: "shop/report",
    swarmName: "shop-report",
    schedule: "0 3 * * *",
    next: "2026-11-30T03:00:00.000Z",
    runs: [
      { result: "succeeded", due: time, start: time, end: time, exitCode: 0 },
      { result: "failed", due: time, start: time, end: time, reason: "<b>\u202e" },
    ],
  } as const;
  const status = buildStatus(statusInput(scaledCatalog, { scaling: { ...scaling, jobs: [job] } }));

  test("is in the status, and on the page with its last runs, the last one first", () => {
    expect(status.jobs).toEqual([job]);
    const page = renderPage(status).replace(/\s+/g, " ");
    expect(page).toContain("<h2>Jobs</h2>");
    const [last = 0, first = 0] = ["failed at 2026-11-29 03:00:08", "succeeded at 2026-11-29 03:00:08"].map((text) => page.indexOf(text)); // prettier-ignore
    expect(last).toBeGreaterThan(0);
    expect(first).toBeGreaterThan(last);
    expect(page).toContain("&lt;b&gt;\\u202e");
    expect(page).not.toContain("<b>");
    expect(renderPage(status, "SHOP")).toContain("<h2>Jobs</h2>");
    expect(renderPage(status, "other")).not.toContain("<h2>Jobs</h2>");
  });

  test("explains a URL that has its name, which leads nowhere", () => {
    const { catalog, routing } = { catalog: scaledCatalog, routing: buildRouting(scaledCatalog) };
    const checks = { source: "", instances: new Map(), jobs: status.jobs };
    const { answer, related } = explain({ path: "/shop/report" }, catalog, routing, checks);
    expect([answer, related]).toEqual([
      404,
      [
        {
          subject: "shop/report",
          why: "a job, 0 3 * * *: next at 2026-11-30T03:00:00.000Z; last run failed at 2026-11-29 03:00:08, after 0 s: <b>\\u202e",
        },
      ],
    ]);
    expect(explain({ path: "/other" }, catalog, routing, checks).related).toEqual([]);
  });
});

describe("a service without a route", () => {
  const limits = { name: "mailer", swarmName: "mailer", memory: { target: 2 ** 27, lower: 1, upper: 2 ** 28, auto: false } }; // prettier-ignore
  const status = buildStatus(statusInput(scaledCatalog, { scaling: { ...scaling, limits: [limits] } }));
  test("is a worker, with the limits that the autoscaler recommends", () => {
    expect(status.workers).toEqual([{ name: "mailer", limits }]);
    expect(buildStatus(statusInput(scaledCatalog, { scaling })).workers).toEqual([]);
  });
  test("is on the page, and the search box finds it", () => {
    const recommended = "memory without a limit, recommended 128 MiB";
    expect(renderPage(status)).toMatch(new RegExp(`<h2>Workers<.*mailer.*${recommended}`, "s"));
    expect(renderPage(status, "MAIL")).toContain("mailer");
    expect(renderPage(status, "b")).not.toContain("Workers");
  });
});

test("/routes keeps its fields, because programs read them", () => {
  const status = buildStatus(
    statusInput(
      {
        instances: [instance("hello/v1", 1), instance("?", 2), instance("x", 3, { tags: ["REST"] })],
        kv: { "service/haproxy/maxconn": "many" },
      },
      {
        failure: "no",
        pending: ["global settings changed"],
        held: [{ instance: instance("hello/v1", 1), since: 0, why: "Consul was lost" }],
        changes: [{ at: "2026-01-01T10:00:00.000Z", how: "start", what: "1 service", milliseconds: 1 }],
      },
    ),
  );
  expect(JSON.parse(JSON.stringify(status))).toEqual({
    version: expect.any(String) as string,
    certificates: [],
    workers: [],
    jobs: [],
    ready: true,
    failure: "no",
    pending: ["global settings changed"],
    consul: { connected: true, index: 7, lastAnswer: "1970-01-01T00:00:01.000Z" },
    routes: [
      {
        url: "/hello",
        key: "*/hello/",
        versionsOf: "hello",
        choice: "newest version with healthy instances",
        stripPrefix: true,
        targets: [{ service: "hello/v1", share: 100 }],
      },
      {
        url: "/hello/v1",
        key: "*/hello/v1/",
        stripPrefix: true,
        targets: [{ service: "hello/v1", share: 100 }],
      },
    ],
    tcp: [],
    services: [
      {
        name: "hello/v1",
        options: {
          kind: "http",
          stripPrefix: true,
          balance: "roundrobin",
          sticky: false,
          proto: "h1",
          h2c: false,
        },
        instances: [
          { ids: ["hello/v1:1"], address: "10.0.0.1:1", weight: 100, state: "unknown", held: true },
        ],
        critical: [],
        waiting: [],
      },
    ],
    leaving: [],
    held: [
      {
        service: "hello/v1",
        id: "hello/v1:1",
        address: "10.0.0.1:1",
        since: "1970-01-01T00:00:00.000Z",
        why: "Consul was lost",
      },
    ],
    quarantined: [{ subject: "?", message: expect.stringContaining("is not a service name") as string }],
    unrouted: [{ subject: "x", message: expect.stringContaining('has the tag "REST"') as string }],
    warnings: [
      { subject: "service/haproxy/maxconn", message: expect.stringContaining("whole number") as string },
    ],
    changes: [{ at: "2026-01-01T10:00:00.000Z", how: "start", what: "1 service", milliseconds: 1 }],
    autoscaler: null,
  });
});

test("/routes lists the certificates and their problems", () => {
  const https = {
    served: new Map([["a.pem", { pem: "", names: ["a.test"], expires: 1_800_000_000_000 }]]),
    problems: [
      { level: "quarantined" as const, subject: "b.pem", message: "certificate b.pem has no private key." },
    ],
  };
  const catalog = { instances: [instance("a", 1), instance("a b", 2)], kv: {} };
  expect(buildStatus(statusInput(catalog, { https }))).toMatchObject({
    certificates: [{ name: "a.pem", hosts: ["a.test"], expires: "2027-01-15T08:00:00.000Z" }],
    quarantined: [{ subject: "a b" }, { subject: "b.pem" }],
  });
});

test("metrics count instances, those of a service that is gone included", () => {
  const states = [
    serverState("10.0.0.1:1", { up: true }),
    serverState("10.0.0.1:8", { maintenance: true }),
    { ...serverState("10.0.0.1:9", { maintenance: true }), backend: "svc:gone" },
  ];
  const catalog = { instances: [instance("a", 1), instance("a b", 2)], kv: {} };
  const lines = new Metrics().text(buildStatus(statusInput(catalog, { states })), 3_000).split("\n");
  for (const expected of [
    "switchyard_routes 1",
    "switchyard_services 1",
    'switchyard_instances{state="up"} 1',
    'switchyard_instances{state="leaving"} 2',
    "switchyard_quarantined 1",
    "switchyard_consul_last_answer_age_seconds 2",
  ])
    expect(lines).toContain(expected);
});

describe("what the load balancer found out about an instance", () => {
  const findings = new Map([["svc:a/10.0.0.1:1", "speaks TLS, not plain HTTP: set SERVICE_PROTO=https"]]);
  const catalog = { instances: [instance("a", 1)], kv: {} };

  test("replaces the result of HAProxy's check", () => {
    const states = [{ ...serverState("10.0.0.1:1"), check: "answers, but not in HTTP" }];
    const [service] = buildStatus(statusInput(catalog, { states, findings })).services;
    expect(service?.instances[0]?.check).toBe("speaks TLS, not plain HTTP: set SERVICE_PROTO=https");
  });

  test("is a warning if the instance passes HAProxy's check", () => {
    const states = [serverState("10.0.0.1:1", { up: true })];
    const status = buildStatus(statusInput(catalog, { states, findings }));
    expect(status.services[0]?.instances[0]?.check).toBeUndefined();
    expect(status.warnings).toEqual([
      {
        subject: "a",
        message: "Instance 10.0.0.1:1 of a speaks TLS, not plain HTTP: set SERVICE_PROTO=https.",
      },
    ]);
  });
});

test("an instance with a name in DNS shows it", () => {
  const named = instance("a", 1, { address: "db.example.com" });
  const hostnames = new Map([["db.example.com", { addresses: ["10.0.0.1"] }]]);
  const routing = buildRouting({ instances: [named], kv: {} }, { hostnames });
  const [service] = buildStatus(statusInput({ instances: [named], kv: {} }, { routing })).services;
  expect(service?.instances[0]).toMatchObject({ address: "10.0.0.1:1", hostname: "db.example.com" });
});
