import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { buildRouting, type Catalog, type Instance, type Routing } from "../../../../routing/build";
import { assignPlaces, originOf } from "../config/backend-pool";
import { applied, isSame, loaded, plan, postponed, tcpFrontends } from "./planner";
import { render } from "../config/render";
import type { Rendered } from "../config/types";
import type { Actual } from "../haproxy/types";
import { spareBackends } from "../config/backend-profiles";
import { catalogs, instance, renderOptions } from "../testing";

vi.setConfig({ testTimeout: 60_000 });

const routing = (...instances: Instance[]): Routing => buildRouting({ instances, kv: {} });
const desired = (given: Routing, places: ReadonlyMap<string, string> = new Map()) =>
  render(given, renderOptions, places);
const kinds = (actual: Actual, to: Rendered) => {
  const steps = plan(actual, to);
  return steps.kind === "operations" ? steps.operations.map(({ kind }) => kind) : steps;
};

describe("the running HAProxy", () => {
  const actual = loaded(desired(routing(instance("a", 1), instance("a", 2))));
  const change = (operation: Parameters<typeof applied>[1][number]) =>
    isSame(actual, applied(actual, [operation]));

  test("is the same in another order", () => {
    const backends = new Map(
      [...actual.backends].map(([name, { head, servers }]) => [
        name,
        { head, servers: new Map([...servers].reverse()) },
      ]),
    );
    expect(isSame(actual, { ...actual, backends })).toBe(true);
  });

  test("is not once somebody else has changed it", () => {
    expect(change({ kind: "leave", backend: "svc:a", server: "10.0.0.1:1" })).toBe(false);
    expect(change({ kind: "weight", backend: "svc:a", server: "10.0.0.1:1", weight: 5 })).toBe(false);
    expect(change({ kind: "unmap", map: "routes.map", key: "*/a/" })).toBe(false);
  });
});

describe("a change", () => {
  const one = routing(instance("a", 1));

  test("of nothing is nothing", () => {
    expect(plan(loaded(desired(one)), desired(one))).toEqual({ kind: "nothing" });
  });

  test("of instances needs no reload", () => {
    const actual = loaded(desired(one));
    expect(kinds(actual, desired(routing(instance("a", 1), instance("a", 2))))).toEqual(["add"]);
    expect(kinds(actual, desired(routing(instance("a", 2))))).toEqual(["add", "leave"]);
    expect(kinds(actual, desired(routing(instance("a", 1, { meta: { weight: "5" } }))))).toEqual(["weight"]);
  });

  test("takes the route away before the instances", () => {
    expect(kinds(loaded(desired(one)), desired(routing()))).toEqual(["unmap", "leave"]);
  });

  test("of an instance that is still leaving brings it back", () => {
    const left = applied(loaded(desired(one)), [{ kind: "leave", backend: "svc:a", server: "10.0.0.1:1" }]);
    expect(kinds(left, desired(one))).toEqual(["return"]);
  });

  test("a service that comes back finds its backend", () => {
    const actual = loaded(desired(one));
    const steps = plan(actual, desired(routing()));
    const gone = steps.kind === "operations" ? applied(actual, steps.operations) : actual;
    expect(kinds(gone, desired(one))).toEqual(["return", "map"]);
  });

  test.each<[string, Routing, string]>([
    [
      "options",
      routing(instance("a", 1, { meta: { balance: "leastconn" } })),
      "service a has other options (backend svc:a from http:roundrobin -> backend svc:a from http:leastconn)",
    ],
    [
      "limits",
      routing(instance("a", 1, { meta: { maxconn: "7" } })),
      "service a has other options (nothing -> maxconn)",
    ],
    [
      "a TCP port",
      routing(instance("a", 1), instance("d", 2, { tags: ["tcp"], meta: { tcp_port: "25" } })),
      "TCP port 25",
    ],
    [
      "settings",
      buildRouting({ instances: [instance("a", 1)], kv: { "service/haproxy/maxconn": "10" } }),
      "global settings changed (maxconn 4096 -> maxconn 10)",
    ],
    [
      "a service of another shape",
      routing(instance("a", 1), instance("b", 2, { meta: { sticky: "true" } })),
      "service b is new and has options of its own",
    ],
  ])("of %s reloads, and says why", (_, to, reason) => {
    const steps = plan(loaded(desired(one)), desired(to));
    expect(steps).toMatchObject({ kind: "reload" });
    if (steps.kind === "reload") expect(steps.reasons.join("\n")).toContain(reason);
  });
});

describe("the port of a TCP service", () => {
  const http = instance("a", 1);
  const tcp = (service: string, port: number) =>
    instance(service, port, { tags: ["tcp"], meta: { tcp_port: "5432" } });
  const after = (actual: Actual, to: Rendered) => {
    const steps = plan(actual, to);
    return steps.kind === "operations" ? applied(actual, steps.operations) : actual;
  };
  const gone = after(loaded(desired(routing(http, tcp("db", 2)))), desired(routing(http)));

  test("stays when the service goes, which then comes back without a reload", () => {
    expect(tcpFrontends(gone.parts)).toEqual([{ port: 5432, backend: "svc:db" }]);
    expect(kinds(gone, desired(routing(http, tcp("db", 2))))).toEqual(["return"]);
    expect(kinds(gone, desired(routing(http, tcp("db", 3))))).toEqual(["add"]);
  });

  test("goes to another service that wants it", () => {
    expect(plan(gone, desired(routing(http, tcp("sql", 4))))).toMatchObject({
      kind: "reload",
      reasons: ["TCP port 5432 of service sql is new", expect.stringContaining("service sql is new")],
    });
  });

  test("is not in what HAProxy could not load again", () => {
    const to = desired(routing(http, instance("b", 5, { meta: { sticky: "true" } })));
    expect(tcpFrontends(postponed(gone, to, desired(routing(http))).parts)).toEqual([]);
    const still = loaded(desired(routing(http, tcp("db", 2))));
    const both = desired(routing(http, tcp("db", 2), instance("b", 5, { meta: { sticky: "true" } })));
    expect(tcpFrontends(postponed(still, both, both).parts)).toHaveLength(1);
  });
});

describe("spare backends", () => {
  test("take new services of the ordinary shape, and are free again when those go", () => {
    const actual = loaded(desired(routing()));
    const places = assignPlaces(routing(instance("a", 1)), actual, new Map());
    expect(places).toEqual(new Map([["svc:a", "spare:0"]]));
    expect(kinds(actual, desired(routing(instance("a", 1)), places))).toEqual(["add", "map"]);
    expect(assignPlaces(routing(), actual, places)).toEqual(new Map());
  });

  test("are not for services that HAProxy has a backend for, or of a shape that there are none of", () => {
    const actual = loaded(desired(routing(instance("a", 1))));
    const to = routing(instance("a", 1), instance("b", 2, { meta: { balance: "leastconn" } }));
    expect(assignPlaces(to, actual, new Map())).toEqual(new Map());
  });

  test("take services with a host, timeout, limit, protocol or health path of their own as well", () => {
    const meta = { host: "x.org", timeout_server: "5", maxconn: "7", proto: "h2c", health_path: "/h" };
    const actual = loaded(desired(routing()));
    const to = routing(instance("a", 1, { meta }));
    const places = assignPlaces(to, actual, new Map());
    expect(places).toEqual(new Map([["svc:a", "spare:health:0"]]));
    const steps = plan(actual, desired(to, places));
    expect(steps).toMatchObject({
      kind: "operations",
      operations: [
        { map: "health.map", key: "spare:health:0", value: "/h" },
        { map: "hosts.map", key: "spare:health:0", value: "x.org" },
        { map: "timeouts.map", key: "spare:health:0", value: "5" },
        { kind: "add", server: "a::10.0.0.1:1" },
        { map: "routes.map", key: "x.org/a/" },
      ],
    });
  });

  test("name their servers so that it can be told whose they are", () => {
    const to = routing(instance("a/b", 1, { address: "2001:db8::1" }));
    const [server] = desired(to, new Map([["svc:a:b", "spare:0"]])).backends[0]?.servers ?? [];
    expect(server?.name).toBe("a:b::ip6.2001:db8::1.1");
    expect(originOf({ backend: "spare:0", server: server?.name ?? "" })).toEqual({
      backend: "svc:a:b",
      server: "ip6.2001:db8::1.1",
    });
    const own = { backend: "svc:a:b", server: "ip6.2001:db8::1.1" };
    expect(originOf(own)).toEqual(own);
  });

  test("run out, which takes a reload", () => {
    const ordinary = spareBackends.filter(({ shape }) => shape === "http:roundrobin").length;
    const many = routing(...Array.from({ length: ordinary + 1 }, (_, i) => instance(`s${i}`, i + 1)));
    const actual = loaded(desired(routing()));
    const steps = plan(actual, desired(many, assignPlaces(many, actual, new Map())));
    expect(steps).toMatchObject({ reasons: [expect.stringContaining("all spare backends are taken")] });
  });
});

/** What requests can notice: routes, and the servers that take them. */
function visible(state: Actual) {
  const servers = [...state.backends].flatMap(([backend, { servers }]) =>
    [...servers].filter(([, s]) => !s.leaving).map(([name, { weight }]) => `${backend}/${name} ${weight}`),
  );
  const maps = Object.values(state.maps).map((map) => [...map].map((entry) => entry.join(" ")).sort());
  return { servers: servers.sort(), maps };
}

describe("while a reload has to wait", () => {
  const least = { meta: { balance: "leastconn" } };
  const put = (before: Rendered, to: Rendered) => {
    const actual = loaded(before);
    expect(plan(actual, to).kind).toBe("reload");
    return plan(actual, postponed(actual, to, before));
  };

  test("everything that needs none is done, and new services stay out", () => {
    const steps = put(
      desired(routing(instance("a", 1))),
      desired(routing(instance("a", 1), instance("a", 2), instance("odd", 3, least))),
    );
    expect(steps).toMatchObject({ kind: "operations", operations: [{ kind: "add", backend: "svc:a" }] });
  });

  test("a service with other options keeps the old ones and gets its new instances", () => {
    const steps = put(
      desired(routing(instance("a", 1))),
      desired(routing(instance("a", 1, least), instance("a", 2, least))),
    );
    expect(steps).toMatchObject({ kind: "operations", operations: [{ kind: "add", backend: "svc:a" }] });
  });

  test("a service that loses its health path is asked for it as long as it has the old shape", () => {
    const health = { meta: { health_path: "/h" } };
    const steps = put(desired(routing(instance("a", 1, health))), desired(routing(instance("a", 1))));
    expect(steps).toEqual({ kind: "nothing" });
  });

  /** What is done before the reload, and where services are then. */
  const change = (before: Rendered, places: ReadonlyMap<string, string>, to: Routing) => {
    const found = assignPlaces(to, loaded(before), places);
    return { places: found, steps: put(before, desired(to, found)) };
  };

  test("a service in a spare backend that gets other options keeps answering from there, by the instances that it has", () => {
    const places = new Map([["svc:a", "spare:0"]]);
    const before = desired(routing(instance("a", 1)), places);
    const { steps } = change(before, places, routing(instance("a", 2, least)));
    expect(steps).toMatchObject({
      operations: [
        { kind: "add", backend: "spare:0", server: "a::10.0.0.1:2" },
        { kind: "leave", backend: "spare:0", server: "a::10.0.0.1:1" },
      ],
    });
  });

  test("nobody else gets its spare backend, though it is the last", () => {
    const ordinary = spareBackends.filter(({ shape }) => shape === "http:roundrobin");
    const others = ordinary.slice(1).map((_, index) => instance(`s${index}`, index + 100));
    const full = routing(instance("a", 1), ...others);
    const empty = desired(routing());
    const places = assignPlaces(full, loaded(empty), new Map());
    expect(places.size).toBe(ordinary.length);
    const { places: then, steps } = change(
      desired(full, places),
      places,
      routing(instance("a", 1, least), ...others, instance("b", 2)),
    );
    expect(then.get("svc:a")).toBe(places.get("svc:a"));
    expect(then.has("svc:b")).toBe(false);
    expect(steps).toEqual({ kind: "nothing" });
  });

  test("a name stays with the version before, which gets and loses instances meanwhile", () => {
    const before = desired(routing(instance("a/v1", 1)));
    const to = desired(routing(instance("a/v1", 2), instance("a/v2", 3, least)));
    expect(put(before, to)).toMatchObject({
      operations: [
        { kind: "add", backend: "svc:a:v1", server: "10.0.0.1:2" },
        { kind: "leave", server: "10.0.0.1:1" },
      ],
    });
  });

  test("a name does not stay with a version whose spare backend has gone to another service", () => {
    const places = new Map([["svc:a:v1", "spare:0"]]);
    const before = desired(routing(instance("a/v1", 1)), places);
    const to = desired(
      routing(instance("a/v2", 3, least), instance("b", 2)),
      new Map([["svc:b", "spare:0"]]),
    );
    const steps = put(before, to);
    if (steps.kind !== "operations") throw new Error("nothing is done");
    const leads = (kind: string) =>
      steps.operations.flatMap((each) => (each.kind === kind && "key" in each ? [each.key] : []));
    expect(leads("map")).toEqual(["*/b/"]);
    expect(leads("unmap").sort()).toEqual(["*/a/", "*/a/v1/"]);
  });

  test("the share of a version that has to wait goes to one that has not", () => {
    const share = (shares: string, ...instances: Instance[]) =>
      desired(buildRouting({ instances, kv: { "service/haproxy/versions/a": shares } }));
    const before = share("v1", instance("a/v1", 1));
    const steps = put(before, share("v1=90,v2=10", instance("a/v1", 1), instance("a/v2", 2, least)));
    if (steps.kind !== "operations") throw new Error("nothing is done");
    const slots = steps.operations.filter((each) => each.kind === "map" && each.map === "splits.map");
    expect(slots).toHaveLength(100);
    for (const slot of slots) expect(slot).toMatchObject({ value: "-|3|/a|svc:a:v1|a/v1" });
    // And what is shared stays shared while the only one that is to have all has to wait.
    const shared = share("v1=90,v2=10", instance("a/v1", 1), instance("a/v2", 2));
    const third = share("v3", instance("a/v1", 1), instance("a/v2", 2), instance("a/v3", 3, least));
    expect(put(shared, third)).toEqual({ kind: "nothing" });
  });
});

test("after any sequence of changes the running state is the desired one", () => {
  const to = desired;
  fc.assert(
    fc.property(fc.array(catalogs, { minLength: 2, maxLength: 6 }), (sequence: Catalog[]) => {
      let before = to(buildRouting(sequence[0] ?? { instances: [], kv: {} }));
      let actual = loaded(before);
      let places = new Map<string, string>();
      for (const catalog of sequence) {
        const wanted = buildRouting(catalog);
        places = assignPlaces(wanted, actual, places);
        let target = to(wanted, places);
        const steps = plan(actual, target);
        if (steps.kind === "operations") actual = applied(actual, steps.operations);
        else if (steps.kind === "reload") {
          expect(plan(actual, postponed(actual, target, before)).kind).not.toBe("reload");
          places = new Map();
          target = to(wanted);
          actual = loaded(target);
        }
        before = target;
        expect(visible(actual)).toEqual(visible(loaded(target)));
        expect(plan(actual, target)).toEqual({ kind: "nothing" });
      }
    }),
    { numRuns: 300 },
  );
});
