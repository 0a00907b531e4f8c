import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { buildRouting, type Catalog } from "../../../../routing/build";
import { renderPage } from "./page";
import { catalogs, instance } from "../testing";
import { buildView, type InstanceState, type ViewInput } from "./status";

// Thousands of cases take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const input = (catalog: Catalog, given: Partial<ViewInput> = {}): ViewInput => ({
  notReady: undefined,
  failure: undefined,
  pending: [],
  consul: { connected: true, index: 7, lastAnswer: 1_000 },
  routing: buildRouting(catalog),
  states: [],
  proven: new Set(),
  held: [],
  changes: [],
  ...given,
});

const state = (server: string, given: { up?: boolean; maintenance?: boolean } = {}) => ({
  backend: "svc:a",
  server,
  up: false,
  maintenance: false,
  weight: 100,
  ...given,
});

describe("what is said of an instance", () => {
  const catalog = { instances: [instance("a", 1)], kv: {} };
  test.each<[string, Partial<ViewInput>, InstanceState]>([
    ["HAProxy sends it requests", { states: [state("10.0.0.1:1", { up: true })] }, "up"],
    ["it has never answered", { states: [state("10.0.0.1:1")] }, "starting"],
    ["it answered before", { states: [state("10.0.0.1:1")], proven: new Set(["svc:a/10.0.0.1:1"]) }, "down"],
    ["it is on its way out", { states: [state("10.0.0.1:1", { maintenance: true })] }, "leaving"],
    ["HAProxy does not run", {}, "unknown"],
  ])("when %s", (_, given, expected) => {
    expect(buildView(input(catalog, given)).services[0]?.instances[0]?.state).toBe(expected);
  });

  test("that has gone from Consul but has connections left: leaving", () => {
    const view = buildView(input(catalog, { states: [state("10.0.0.1:9", { maintenance: true })] }));
    expect(view.services[0]?.instances[1]).toMatchObject({ address: "10.0.0.1:9", state: "leaving" });
  });

  test("whose service has gone as well", () => {
    const gone = { ...state("10.0.0.1:9", { maintenance: true }), backend: "spare:3" };
    const view = buildView(input(catalog, { states: [gone] }));
    expect(view.leaving).toEqual([{ backend: "spare:3", address: "10.0.0.1:9" }]);
    expect(renderPage(view)).toMatch(/<h2>Leaving<.*spare:3.*10\.0\.0\.1:9/s);
    expect(renderPage(buildView(input(catalog)))).not.toContain("Leaving");
  });

  test("that Consul dropped in a suspicious way: held", () => {
    const held = [{ instance: instance("a", 1), since: 0, why: "Consul was lost" }];
    const view = buildView(input(catalog, { held }));
    expect(view.services[0]?.instances[0]?.held).toBe(true);
    expect(renderPage(view)).toContain("Consul dropped it in a suspicious way");
  });
});

test("/routes keeps its fields: programs read them", () => {
  const view = buildView(
    input(
      { instances: [instance("hello/v1", 1), instance("?", 2)], kv: { "service/haproxy/maxconn": "many" } },
      {
        failure: "no",
        pending: ["global settings changed"],
        held: [{ instance: instance("hello/v1", 1), since: 0, why: "Consul was lost" }],
        changes: [{ at: "2026-01-01T10:00:00.000Z", how: "start", what: "1 service", milliseconds: 1 }],
      },
    ),
  );
  expect(JSON.parse(JSON.stringify(view))).toEqual({
    version: expect.any(String) as string,
    certificates: [],
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
        options: { kind: "http", stripPrefix: true, balance: "roundrobin", sticky: false, h2c: false },
        instances: [
          { ids: ["hello/v1:1"], address: "10.0.0.1:1", weight: 100, state: "unknown", held: true },
        ],
        critical: [],
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
    warnings: [
      { subject: "service/haproxy/maxconn", message: expect.stringContaining("whole number") as string },
    ],
    changes: [{ at: "2026-01-01T10:00:00.000Z", how: "start", what: "1 service", milliseconds: 1 }],
  });
});

describe("the page", () => {
  const catalog: Catalog = {
    instances: [
      instance("hello/v1", 1),
      instance("hello/v2", 2),
      instance("hello/v2", 5, { meta: { weight: "0" } }),
      instance("db", 3, { tags: ["tcp"], meta: { tcp_port: "5432" } }),
      instance("sick", 4, { healthy: false }),
    ],
    kv: { "service/haproxy/versions/hello": "v1=90,v2=10" },
  };

  test("says where requests go, by which share and why", () => {
    const page = renderPage(
      buildView(
        input(catalog, {
          changes: [
            {
              at: "2026-01-01T10:00:00.000Z",
              how: "reload",
              what: "service x has options of its own",
              milliseconds: 12.5,
            },
          ],
        }),
      ),
    );
    for (const text of [
      "90 %",
      "set by KV: v1=90,v2=10",
      "5432",
      "weight 0: no new requests",
      "sick:4",
      "not passing",
      "service x has options of its own",
      "12.5 ms",
    ])
      expect(page).toContain(text);
  });

  test("names instances by their ids, unless those say no more than service and port", () => {
    const instances = [
      instance("a", 1),
      instance("a", 2, { id: "node:web_1:80\u202e" }),
      instance("a", 3, { id: "a:3" }),
      instance("a", 3, { id: "copy" }),
    ];
    const page = renderPage(buildView(input({ instances, kv: {} })));
    expect(page).toContain('<bdi class="note">&quot;node:web_1:80\\u202e&quot;</bdi>');
    expect(page).toContain('<bdi class="note">a:3, copy</bdi>');
    expect(page).not.toContain("a:1");
  });

  test("counts only instances that get requests where a URL or a TCP port leads", () => {
    const services = [
      instance("a", 1),
      instance("a", 2, { meta: { weight: "0" } }),
      instance("db", 3, { tags: ["tcp"], meta: { tcp_port: "5432", weight: "0" } }),
    ];
    const states = [
      state("10.0.0.1:1", { up: true }),
      state("10.0.0.1:2", { up: true }),
      { ...state("10.0.0.1:3", { up: true }), backend: "svc:db" },
    ];
    const page = renderPage(buildView(input({ instances: services, kv: {} }, { states })));
    expect(page).toMatch(/id="routes".*>1 up<.*id="tcp".*>0 up</s);
  });

  test("says why it is not ready, and what could not be applied", () => {
    const page = renderPage(
      buildView(
        input(catalog, {
          notReady: "not synchronised with Consul yet",
          failure: "HAProxy did not want it",
          pending: ["TCP port 5432 of service db is new"],
        }),
      ),
    );
    expect(page).toContain(
      '<p id="state" role="status">Not ready: not synchronised with Consul yet. 2 need attention.</p>',
    );
    expect(page).toContain("HAProxy did not want it");
    expect(page).toContain("TCP port 5432 of service db is new");
  });

  test("lists the certificates, the default one first, with what they are for and until when", () => {
    const certificate = (...names: string[]) => ({ pem: "", names, expires: Date.UTC(2027, 0, 15) });
    const https = {
      served: new Map([
        ["a.pem", certificate("a.test", "*.a.test")],
        ["default.pem", certificate("<b>\u202e")],
      ]),
      problems: [],
    };
    const page = renderPage(buildView(input(catalog, { https })));
    expect(page).toMatch(/default\.pem.*a\.pem.*\*\.a\.test.*2027-01-15/s);
    expect(page).toContain("&lt;b&gt;\\u202e");
    expect(renderPage(buildView(input(catalog)))).not.toContain("Certificates");
  });

  test("is cut where there is too much, and narrowed by the search box", () => {
    const many = { instances: Array.from({ length: 1000 }, (_, i) => instance(`s${i}`, 1 + i)), kv: {} };
    const view = buildView(input(many));
    expect(renderPage(view)).toContain("and 800 more");
    const found = renderPage(view, "S77");
    expect(found.match(/<article/g)).toHaveLength(11);
    expect(found).toContain('value="S77"');
  });

  test("does not send to the search box for the rest of a service's instances", () => {
    const many = { instances: Array.from({ length: 61 }, (_, i) => instance("a", 1 + i)), kv: {} };
    const page = renderPage(buildView(input(many)));
    expect(page).toContain("and 1 more: see <a");
    expect(page).not.toContain("narrow");
  });

  test("the search box finds the services that a URL or a TCP port leads to", () => {
    const moved = instance("accounts", 1, { meta: { path: "/money" } });
    const view = buildView(input({ instances: [moved, ...catalog.instances], kv: {} }));
    const cards = (query: string) =>
      [...renderPage(view, query).matchAll(/<article id="service-([^"]+)"/g)].map(([, name]) => name);
    expect(cards("/money")).toEqual(["accounts"]);
    expect(cards(" ACC ")).toEqual(["accounts"]);
    expect(cards("5432")).toEqual(["db"]);
    expect(cards("db")).toEqual(["db"]);
  });

  test("the search box narrows all lists, and says when it has found nothing", () => {
    const lost = { instance: instance("hello/v1", 1), since: 0, why: "Consul was lost" };
    const view = buildView(
      input(
        {
          instances: [instance("bad name", 9), ...catalog.instances],
          kv: { "service/haproxy/maxconn": "many" },
        },
        {
          held: [lost],
          states: [{ ...state("10.0.0.9:9", { maintenance: true }), backend: "svc:gone" }],
          https: {
            served: new Map([["a.pem", { pem: "", names: ["a.test"], expires: 0 }]]),
            problems: [],
          },
        },
      ),
    );
    const listed = {
      "bad name": />quarantined</,
      maxconn: />warning</,
      "consul was lost": />held</,
      "svc:gone": /id="leaving"/,
      "A.Test": /id="certificates"/,
      "5432": /id="tcp"/,
    };
    for (const query of Object.keys(listed)) {
      const page = renderPage(view, query);
      for (const [other, list] of Object.entries(listed))
        (other === query ? expect(page) : expect(page).not).toMatch(list);
    }
    const page = renderPage(view, "\u202enowhere");
    for (const list of Object.values(listed)) expect(page).not.toMatch(list);
    expect(page).toMatch(/None contains .*\\u202enowhere/s);
    expect(page).not.toContain("Register a service");
  });

  test("has no element or attribute from outside, whatever is registered or searched for", () => {
    // With everything foreign made harmless the structure must be that of the page without values.
    const known =
      /^<(!doctype|html|head|meta|title|link|noscript|script|body|header|h[1-3]|small|form|input|main|dl|div|dt|dd|span|time|section|ul|li|strong|bdi|p|code|table|thead|tbody|tr|th|td|a|article|footer|\/)/;
    fc.assert(
      fc.property(catalogs, fc.string({ unit: "binary" }), (found, query) => {
        const page = renderPage(buildView(input(found)), query);
        for (const tag of page.match(/<[^>]*>?/g) ?? []) {
          expect(tag).toMatch(known);
          expect(tag).not.toMatch(/\son\w+=|javascript:/i);
          expect((tag.match(/"/g) ?? []).length % 2).toBe(0);
        }
        expect(page.match(/<script/g)).toHaveLength(1);
      }),
      { numRuns: 300 },
    );
  });

  test("does not let a name hide or turn around what stands beside it", () => {
    const hostile = { instances: [instance("evil\u202e<img src=x onerror=alert(1)>", 1)], kv: {} };
    const page = renderPage(buildView(input(hostile)));
    expect(page).not.toContain("\u202e");
    expect(page).toContain("\\u202e&lt;img");
  });
});
