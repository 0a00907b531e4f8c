import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Catalog } from "../../../../routing/types";
import { catalogs, instance } from "../testing";
import { renderPage } from "./page";
import { buildStatus } from "./status";
import { serverState, statusInput } from "./testing";

// Thousands of cases take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

describe("the page", () => {
  const catalog: Catalog = {
    instances: [
      instance("hello/v1", 1),
      instance("hello/v2", 2),
      instance("hello/v2", 5, { meta: { weight: "0" } }),
      instance("db", 3, { tags: ["tcp"], meta: { tcp_port: "5432" } }),
      instance("sick", 4, { healthy: false }),
      instance("hello/v1", 6, { warning: true }),
    ],
    kv: { "service/haproxy/versions/hello": "v1=90,v2=10" },
  };

  test("shows where requests go, by which share and why", () => {
    const page = renderPage(
      buildStatus(
        statusInput(catalog, {
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
      "hello/v1:6",
      "waits for its health check",
      "1 waiting for a health check, 1 not passing in Consul",
      "service x has options of its own",
      "12.5 ms",
    ])
      expect(page).toContain(text);
  });

  test("shows the ids of instances, unless they only repeat service and port", () => {
    const instances = [
      instance("a", 1),
      instance("a", 2, { id: "node:web_1:80\u202e" }),
      instance("a", 3, { id: "a:3" }),
      instance("a", 3, { id: "copy" }),
    ];
    const page = renderPage(buildStatus(statusInput({ instances, kv: {} })));
    expect(page).toContain('<bdi class="note">&quot;node:web_1:80\\u202e&quot;</bdi>');
    expect(page).toContain('<bdi class="note">a:3, copy</bdi>');
    expect(page).not.toContain("a:1");
  });

  test("counts only instances that get requests beside a URL or TCP port", () => {
    const services = [
      instance("a", 1),
      instance("a", 2, { meta: { weight: "0" } }),
      instance("db", 3, { tags: ["tcp"], meta: { tcp_port: "5432", weight: "0" } }),
    ];
    const states = [
      serverState("10.0.0.1:1", { up: true }),
      serverState("10.0.0.1:2", { up: true }),
      { ...serverState("10.0.0.1:3", { up: true }), backend: "svc:db" },
    ];
    const page = renderPage(buildStatus(statusInput({ instances: services, kv: {} }, { states })));
    expect(page).toMatch(/id="routes".*>1 up<.*id="tcp".*>0 up</s);
  });

  test("shows why it is not ready, and what could not be applied", () => {
    const page = renderPage(
      buildStatus(
        statusInput(catalog, {
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

  test("lists the certificates, the default first, with their host names and expiry", () => {
    const certificate = (...names: string[]) => ({ pem: "", names, expires: Date.UTC(2027, 0, 15) });
    const https = {
      served: new Map([
        ["a.pem", certificate("a.test", "*.a.test")],
        ["default.pem", certificate("<b>\u202e")],
      ]),
      problems: [],
    };
    const page = renderPage(buildStatus(statusInput(catalog, { https })));
    expect(page).toMatch(/default\.pem.*a\.pem.*\*\.a\.test.*2027-01-15/s);
    expect(page).toContain("&lt;b&gt;\\u202e");
    expect(renderPage(buildStatus(statusInput(catalog)))).not.toContain("Certificates");
  });

  test("limits the number of services, and the search box narrows them", () => {
    const many = { instances: Array.from({ length: 1000 }, (_, i) => instance(`s${i}`, 1 + i)), kv: {} };
    const status = buildStatus(statusInput(many));
    expect(renderPage(status)).toContain("and 800 more");
    const found = renderPage(status, "S77");
    expect(found.match(/<article/g)).toHaveLength(11);
    expect(found).toContain('value="S77"');
  });

  test("does not suggest the search box for the other instances of a service", () => {
    const many = { instances: Array.from({ length: 61 }, (_, i) => instance("a", 1 + i)), kv: {} };
    const page = renderPage(buildStatus(statusInput(many)));
    expect(page).toContain("and 1 more: see <a");
    expect(page).not.toContain("narrow");
  });

  test("the search box finds the services of matching URLs and TCP ports", () => {
    const moved = instance("accounts", 1, { meta: { path: "/money" } });
    const status = buildStatus(statusInput({ instances: [moved, ...catalog.instances], kv: {} }));
    const cards = (query: string) =>
      [...renderPage(status, query).matchAll(/<article id="service-([^"]+)"/g)].map(([, name]) => name);
    expect(cards("/money")).toEqual(["accounts"]);
    expect(cards(" ACC ")).toEqual(["accounts"]);
    expect(cards("5432")).toEqual(["db"]);
    expect(cards("db")).toEqual(["db"]);
  });

  test("the search box narrows all lists and reports that nothing matches", () => {
    const lost = { instance: instance("hello/v1", 1), since: 0, why: "Consul was lost" };
    const status = buildStatus(
      statusInput(
        {
          instances: [
            instance("bad name", 9),
            instance("almost", 8, { tags: ["REST"] }),
            ...catalog.instances,
          ],
          kv: { "service/haproxy/maxconn": "many" },
        },
        {
          held: [lost],
          states: [{ ...serverState("10.0.0.9:9", { maintenance: true }), backend: "svc:gone" }],
          https: {
            served: new Map([["a.pem", { pem: "", names: ["a.test"], expires: 0 }]]),
            problems: [],
          },
        },
      ),
    );
    const listed = {
      "bad name": />quarantined</,
      almost: />not routed</,
      maxconn: />warning</,
      "consul was lost": />held</,
      "svc:gone": /id="leaving"/,
      "A.Test": /id="certificates"/,
      "5432": /id="tcp"/,
    };
    for (const query of Object.keys(listed)) {
      const page = renderPage(status, query);
      for (const [other, list] of Object.entries(listed))
        (other === query ? expect(page) : expect(page).not).toMatch(list);
    }
    const page = renderPage(status, "\u202enowhere");
    for (const list of Object.values(listed)) expect(page).not.toMatch(list);
    expect(page).toMatch(/No URL contains .*\\u202enowhere/s);
    expect(page).not.toContain("Register a service");
  });

  test("contains no foreign element or attribute, whatever is registered or searched for", () => {
    // With all foreign text escaped, only the elements of the page itself remain.
    const known =
      /^<(!doctype|html|head|meta|title|link|noscript|script|body|header|h[1-3]|small|form|input|main|dl|div|dt|dd|span|time|section|ul|li|strong|bdi|p|code|table|thead|tbody|tr|th|td|a|article|footer|\/)/;
    fc.assert(
      fc.property(catalogs, fc.string({ unit: "binary" }), (found, query) => {
        const page = renderPage(buildStatus(statusInput(found)), query);
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

  test("does not let a name hide or reverse the text around it", () => {
    const hostile = { instances: [instance("evil\u202e<img src=x onerror=alert(1)>", 1)], kv: {} };
    const page = renderPage(buildStatus(statusInput(hostile)));
    expect(page).not.toContain("\u202e");
    expect(page).toContain("\\u202e&lt;img");
  });
});
