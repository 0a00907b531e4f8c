import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Catalog, Instance, Routing } from "../../../../routing/types";
import { assignSlots } from "../config/backend-pool";
import { poolBackends } from "../config/backend-profiles";
import { render } from "../config/render";
import { eachMap, mapNames, textOf, type MapName, type MapValue, type Rendered } from "../config/types";
import type { Actual, Operation } from "../haproxy/types";
import { catalogs, instance, renderOptions } from "../testing";
import { isSame, loaded, plan, type Plan } from "./planner";
import { toSentences } from "./reasons";

vi.setConfig({ testTimeout: 60_000 });

type Slots = ReadonlyMap<string, string>;

const routing = (...instances: Instance[]): Routing => buildRouting({ instances, kv: {} });
const desired = (given: Routing, slots: Slots = new Map()) => render(given, renderOptions, slots);
const least = { meta: { balance: "leastconn" } };
const tcp = (service: string, port: number, tcpPort = "5432") =>
  instance(service, port, { tags: ["tcp"], meta: { tcp_port: tcpPort } });
const one = routing(instance("a", 1));
const nothing = { operations: [], reasons: [] };

const kinds = ({ operations }: Plan) => operations.map(({ kind }) => kind);
const planned = (before: Routing, to: Routing, slots?: Slots) =>
  plan(loaded(desired(before)), desired(to, slots), desired(before));

/** What a worker makes of operations, found independently of what the plan says. */
function execute(actual: Actual, operations: readonly Operation[]): Actual {
  const backends = new Map(actual.backends);
  const maps = { ...actual.maps } as Record<MapName, ReadonlyMap<string, MapValue>>;
  for (const operation of operations) {
    if ("map" in operation) {
      const map = new Map(maps[operation.map]);
      if (operation.kind === "map") map.set(operation.key, textOf(operation.value));
      else map.delete(operation.key);
      maps[operation.map] = map;
      continue;
    }
    const backend = backends.get(operation.backend);
    if (backend === undefined) throw new Error(`HAProxy has no backend ${operation.backend}`);
    const known = backend.servers.get(operation.server);
    const { kind, origin } = operation;
    const definition = kind === "add" ? operation.definition : known?.definition;
    const weight = kind === "leave" ? (known?.weight ?? 0) : operation.weight;
    const server = { origin, definition, weight, leaving: kind === "leave" };
    const servers = new Map(backend.servers).set(operation.server, server);
    backends.set(operation.backend, { ...backend, servers });
  }
  return { ...actual, backends, maps };
}

describe("isSame", () => {
  const actual = loaded(desired(routing(instance("a", 1), instance("a", 2))));
  const server = {
    backend: "svc:a",
    server: "10.0.0.1:1",
    origin: { backend: "svc:a", server: "10.0.0.1:1", service: "a" },
  };

  test("ignores the order of servers and whether an entry is only known as text", () => {
    const backends = new Map(
      [...actual.backends].map(([name, { head, servers }]) => [
        name,
        { head, servers: new Map([...servers].reverse()) },
      ]),
    );
    const maps = eachMap(
      mapNames,
      (name) => new Map([...actual.maps[name]].map(([key, value]) => [key, textOf(value)])),
    );
    expect(isSame(actual, { ...actual, backends, maps })).toBe(true);
  });

  test.each<[string, Operation]>([
    ["a server leaves", { kind: "leave", ...server }],
    ["a weight changes", { kind: "weight", weight: 5, ...server }],
    ["a route goes", { kind: "unmap", map: "routes.map", key: "*/a/" }],
    ["a route changes", { kind: "map", change: "set", map: "routes.map", key: "*/a/", value: "-|1|/a|x|x" }],
  ])("is false if %s", (_, operation) => {
    expect(isSame(actual, execute(actual, [operation]))).toBe(false);
  });
});

describe("without a reload", () => {
  const two = routing(instance("a", 1), instance("a", 2));
  test.each<[string, Routing, Routing, Operation["kind"][]]>([
    ["no change", one, one, []],
    ["a new instance", one, two, ["add"]],
    ["another instance", one, routing(instance("a", 2)), ["add", "leave"]],
    ["another weight", one, routing(instance("a", 1, { meta: { weight: "5" } })), ["weight"]],
    ["a service that goes: first its route, then its instances", one, routing(), ["unmap", "leave"]],
  ])("%s", (_, before, to, expected) => {
    expect(kinds(planned(before, to))).toEqual(expected);
    expect(planned(before, to).reasons).toEqual([]);
  });

  test.each<[string, Routing, Operation["kind"][]]>([
    [
      "an instance that is still leaving returns",
      routing(instance("a", 1), instance("b", 2)),
      ["return", "map"],
    ],
    [
      "a service that comes back finds its backend",
      routing(instance("a", 3), instance("b", 2)),
      ["add", "map"],
    ],
  ])("%s", (_, to, expected) => {
    const both = routing(instance("a", 1), instance("b", 2));
    const left = planned(both, routing(instance("b", 2)));
    expect(kinds(plan(left.after, desired(to), left.inForce))).toEqual(expected);
  });

  test("an entry that somebody else changed is corrected, whatever it says", () => {
    const actual = loaded(desired(one));
    const strange = new Map<string, MapValue>([
      ["*/a/", "-|1|/a|svc:b|b"],
      ["*/rogue/", "nonsense"],
    ]);
    const steps = plan(
      { ...actual, maps: { ...actual.maps, "routes.map": strange } },
      desired(one),
      desired(one),
    );
    expect(steps).toMatchObject({
      reasons: [],
      operations: [
        { kind: "map", change: "set", key: "*/a/" },
        { kind: "unmap", key: "*/rogue/" },
      ],
    });
  });
});

test.each<[string, Routing, string, string]>([
  [
    "options",
    routing(instance("a", 1, least)),
    "service options",
    "service a has other options (balance roundrobin -> balance leastconn)",
  ],
  [
    "limits",
    routing(instance("a", 1, { meta: { maxconn: "7" } })),
    "service options",
    "service a has other options (maxconn not set -> maxconn 7)",
  ],
  ["a TCP port", routing(instance("a", 1), tcp("d", 2, "25")), "tcp port", "TCP port 25 of service d is new"],
  [
    "settings",
    buildRouting({ instances: [instance("a", 1)], kv: { "service/haproxy/maxconn": "10" } }),
    "settings",
    "global settings changed (maxconn 4096 -> maxconn 10)",
  ],
  [
    "a service of a profile that the pool does not have",
    routing(instance("a", 1), instance("b", 2, { meta: { sticky: "true" } })),
    "new service",
    "service b is new and has options of its own",
  ],
])("a change of %s takes a reload, and says why", (_, to, kind, sentence) => {
  const { reasons } = planned(one, to);
  expect(reasons[0]?.kind).toBe(kind);
  expect(toSentences(reasons)).toContain(sentence);
});

describe("the port of a TCP service", () => {
  const http = instance("a", 1);
  const gone = planned(routing(http, tcp("db", 2)), routing(http));
  const ports = ({ parts }: Pick<Rendered, "parts">) => parts.flatMap((part) => part.tcp ?? []);

  test("stays when the service goes, which then comes back without a reload", () => {
    expect(ports(gone.after)).toEqual([{ port: 5432, backend: "svc:db", service: "db" }]);
    for (const [port, kind] of [
      [2, "return"],
      [3, "add"],
    ] as const) {
      const back = plan(gone.after, desired(routing(http, tcp("db", port))), gone.inForce);
      expect(back).toMatchObject({ reasons: [], operations: [{ kind }] });
    }
  });

  test("goes to another service that wants it", () => {
    const { reasons } = plan(gone.after, desired(routing(http, tcp("sql", 4))), gone.inForce);
    expect(toSentences(reasons)).toEqual([
      "TCP port 5432 of service sql is new",
      expect.stringContaining("service sql is new"),
    ]);
  });

  test("is not in what HAProxy could not load again", () => {
    const sticky = instance("b", 5, { meta: { sticky: "true" } });
    expect(ports(plan(gone.after, desired(routing(http, sticky)), gone.inForce).inForce)).toEqual([]);
    const still = planned(routing(http, tcp("db", 2)), routing(http, tcp("db", 2), sticky));
    expect(ports(still.inForce)).toHaveLength(1);
  });
});

describe("the pool", () => {
  const empty = routing();
  const running = loaded(desired(empty));
  const assign = (to: Routing) => assignSlots(to, running, new Map());

  test("has room for new services of its profiles, and gets the room back when those go", () => {
    const slots = assign(one);
    expect(slots).toEqual(new Map([["svc:a", "spare:0"]]));
    expect(kinds(planned(empty, one, slots))).toEqual(["add", "map"]);
    expect(assignSlots(empty, running, slots)).toEqual(new Map());
  });

  test("gives the room of a service to another one only after its last server is deleted", () => {
    const slots = assign(one);
    const before = desired(one, slots);
    const gone = plan(loaded(before), desired(empty), before);
    const other = routing(instance("b", 2));
    expect(assignSlots(other, gone.after, new Map())).toEqual(new Map([["svc:b", "spare:1"]]));
    expect(assignSlots(other, loaded(desired(empty)), new Map())).toEqual(new Map([["svc:b", "spare:0"]]));
  });

  test("is not for services that HAProxy has a backend for, or of a profile that it does not have", () => {
    const to = routing(instance("a", 1), instance("b", 2, least));
    expect(assignSlots(to, loaded(desired(one)), new Map())).toEqual(new Map());
  });

  test("also takes services with a host, timeout, limit, protocol or health path of their own", () => {
    const meta = { host: "x.org", timeout_server: "5", maxconn: "7", proto: "h2c", health_path: "/h" };
    const to = routing(instance("a", 1, { meta }));
    const slots = assign(to);
    expect(slots).toEqual(new Map([["svc:a", "spare:health:0"]]));
    expect(planned(empty, to, slots)).toMatchObject({
      reasons: [],
      operations: [
        { map: "health.map", key: "spare:health:0", value: "/h" },
        { map: "hosts.map", key: "spare:health:0", value: "x.org", service: "a" },
        { map: "timeouts.map", key: "spare:health:0", value: "5" },
        { kind: "add", server: "a::10.0.0.1:1" },
        { map: "routes.map", key: "x.org/a/" },
      ],
    });
  });

  test("names servers for people, and keeps their names in the routing beside that", () => {
    const to = routing(instance("a/b", 1, { address: "2001:db8::1" }));
    const origin = { backend: "svc:a:b", server: "ip6.2001:db8::1.1", service: "a/b" };
    expect(desired(to, new Map([["svc:a:b", "spare:0"]])).backends[0]?.servers[0]).toMatchObject({
      name: "a:b::ip6.2001:db8::1.1",
      origin,
    });
    expect(desired(to).backends[0]?.servers[0]).toMatchObject({ name: "ip6.2001:db8::1.1", origin });
  });

  test("runs out, which takes a reload", () => {
    const ordinary = poolBackends.filter(({ profile }) => profile === "http:roundrobin").length;
    const many = routing(...Array.from({ length: ordinary + 1 }, (_, i) => instance(`s${i}`, i + 1)));
    expect(toSentences(planned(empty, many, assign(many)).reasons)).toEqual([
      expect.stringContaining("all spare backends are taken"),
    ]);
  });
});

/** What requests can notice: routes, and the servers that take them. */
function visible(state: Actual) {
  const servers = [...state.backends].flatMap(([backend, { servers }]) =>
    [...servers].filter(([, s]) => !s.leaving).map(([name, { weight }]) => `${backend}/${name} ${weight}`),
  );
  const maps = Object.values(state.maps).map((map) =>
    [...map].map(([key, value]) => `${key} ${textOf(value)}`).sort(),
  );
  return { servers: servers.sort(), maps };
}

describe("while a reload has to wait", () => {
  const put = (before: Rendered, to: Rendered) => {
    const steps = plan(loaded(before), to, before);
    expect(steps.reasons).not.toEqual([]);
    return steps;
  };

  test.each<[string, Routing, Routing]>([
    [
      "everything else is done, and new services stay out",
      one,
      routing(instance("a", 1), instance("a", 2), instance("odd", 3, least)),
    ],
    [
      "a service with other options keeps the old ones and gets its new instances",
      one,
      routing(instance("a", 1, least), instance("a", 2, least)),
    ],
  ])("%s", (_, before, to) => {
    expect(put(desired(before), desired(to)).operations).toMatchObject([{ kind: "add", backend: "svc:a" }]);
  });

  test("a service that loses its health path is still asked for it while it has the old profile", () => {
    const health = { meta: { health_path: "/h" } };
    expect(put(desired(routing(instance("a", 1, health))), desired(one)).operations).toEqual([]);
  });

  /** What is done before the reload, and where services are then. */
  const change = (before: Rendered, slots: Slots, to: Routing) => {
    const found = assignSlots(to, loaded(before), slots);
    return { slots: found, steps: put(before, desired(to, found)) };
  };

  test("a service in a slot that gets other options keeps answering from there, with its present instances", () => {
    const slots = new Map([["svc:a", "spare:0"]]);
    const { steps } = change(desired(one, slots), slots, routing(instance("a", 2, least)));
    expect(steps.operations).toMatchObject([
      { kind: "add", backend: "spare:0", server: "a::10.0.0.1:2" },
      { kind: "leave", backend: "spare:0", server: "a::10.0.0.1:1" },
    ]);
  });

  test("nobody else gets its slot, even if it is the last", () => {
    const ordinary = poolBackends.filter(({ profile }) => profile === "http:roundrobin");
    const others = ordinary.slice(1).map((_, index) => instance(`s${index}`, index + 100));
    const full = routing(instance("a", 1), ...others);
    const slots = assignSlots(full, loaded(desired(routing())), new Map());
    expect(slots.size).toBe(ordinary.length);
    const { slots: then, steps } = change(
      desired(full, slots),
      slots,
      routing(instance("a", 1, least), ...others, instance("b", 2)),
    );
    expect(then.get("svc:a")).toBe(slots.get("svc:a"));
    expect(then.has("svc:b")).toBe(false);
    expect(steps.operations).toEqual([]);
  });

  test("a name stays with the version before, which gets and loses instances meanwhile", () => {
    const before = desired(routing(instance("a/v1", 1)));
    const to = desired(routing(instance("a/v1", 2), instance("a/v2", 3, least)));
    expect(put(before, to).operations).toMatchObject([
      { kind: "add", backend: "svc:a:v1", server: "10.0.0.1:2" },
      { kind: "leave", server: "10.0.0.1:1" },
    ]);
  });

  test("a name does not stay with a version whose slot has gone to another service", () => {
    const before = desired(routing(instance("a/v1", 1)), new Map([["svc:a:v1", "spare:0"]]));
    const to = desired(
      routing(instance("a/v2", 3, least), instance("b", 2)),
      new Map([["svc:b", "spare:0"]]),
    );
    const { operations } = put(before, to);
    const keys = (kind: string) =>
      operations.flatMap((each) => (each.kind === kind && "key" in each ? [each.key] : []));
    expect(keys("map")).toEqual(["*/b/"]);
    expect(keys("unmap").sort()).toEqual(["*/a/", "*/a/v1/"]);
  });

  describe("the share of a version that has to wait", () => {
    const share = (shares: string, ...instances: Instance[]) =>
      desired(buildRouting({ instances, kv: { "service/haproxy/versions/a": shares } }));

    test("goes to one that need not wait", () => {
      const before = share("v1", instance("a/v1", 1));
      const steps = put(before, share("v1=90,v2=10", instance("a/v1", 1), instance("a/v2", 2, least)));
      const slots = steps.operations.filter((each) => "map" in each && each.map === "splits.map");
      expect(slots).toHaveLength(100);
      for (const slot of slots)
        expect(slot).toMatchObject({ kind: "map", value: { text: "-|2|/a|svc:a:v1|a/v1" } });
      // And the next change, still before the reload, leaves that as it is.
      const more = share("v1=90,v2=10", instance("a/v1", 1), instance("a/v1", 7), instance("a/v2", 2, least));
      expect(kinds(plan(steps.after, more, steps.inForce))).toEqual(["add"]);
    });

    test("stays shared while the only version that is to have all has to wait", () => {
      const shared = share("v1=90,v2=10", instance("a/v1", 1), instance("a/v2", 2));
      const third = share("v3", instance("a/v1", 1), instance("a/v2", 2), instance("a/v3", 3, least));
      expect(put(shared, third).operations).toEqual([]);
    });
  });
});

test("after any sequence of changes the running state is the desired one, or all of it that needs no reload", () => {
  fc.assert(
    fc.property(fc.array(catalogs, { minLength: 2, maxLength: 6 }), (sequence: Catalog[]) => {
      let before = desired(buildRouting(sequence[0] ?? { instances: [], kv: {} }));
      let actual = loaded(before);
      let slots = new Map<string, string>();
      for (const catalog of sequence) {
        const wanted = buildRouting(catalog);
        slots = assignSlots(wanted, actual, slots);
        let target = desired(wanted, slots);
        const steps = plan(actual, target, before);
        // Whether or not a reload follows, what the plan says is what a worker makes of its operations.
        const done = execute(actual, steps.operations);
        expect(isSame(done, steps.after)).toBe(true);
        expect(visible(done)).toEqual(visible(loaded(steps.inForce)));
        expect(plan(steps.after, steps.inForce, steps.inForce)).toMatchObject(nothing);
        actual = steps.after;
        if (steps.reasons.length > 0) {
          slots = new Map();
          target = desired(wanted);
          actual = loaded(target);
        }
        before = target;
        expect(visible(actual)).toEqual(visible(loaded(target)));
        expect(plan(actual, target, target)).toMatchObject(nothing);
      }
    }),
    { numRuns: 300 },
  );
});

test("changes that wait for a reload for long keep a worker that can serve them all the time", () => {
  fc.assert(
    fc.property(fc.array(catalogs, { minLength: 2, maxLength: 6 }), (sequence: Catalog[]) => {
      let inForce = desired(buildRouting(sequence[0] ?? { instances: [], kv: {} }));
      let actual = loaded(inForce);
      let slots = new Map<string, string>();
      for (const catalog of sequence) {
        const wanted = buildRouting(catalog);
        slots = assignSlots(wanted, actual, slots);
        const steps = plan(actual, desired(wanted, slots), inForce);
        const done = execute(actual, steps.operations);
        expect(isSame(done, steps.after)).toBe(true);
        for (const { target } of [
          ...steps.inForce.maps["routes.map"].values(),
          ...steps.inForce.maps["splits.map"].values(),
        ])
          if (target.kind === "backend") expect(done.backends.has(target.backend)).toBe(true);
        ({ inForce, after: actual } = steps);
      }
    }),
    { numRuns: 300 },
  );
});
