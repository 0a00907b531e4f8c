import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { problemWithName } from "./rules";
import { originKey } from "../../../../routing/shared-ports";
import { imageName } from "../../../../routing/registration";
import { servicesOf } from "./services";
import { container, options } from "../fixtures";

const redis = { name: "redis.0", image: "progrium/redis", ports: { "6379/tcp": "10000" } };
const nginx = { name: "nginx.0", image: "progrium/nginx", ports: { "443/tcp": "4443", "80/tcp": "8000" } };
const brief = (given: Parameters<typeof container>[0], own: Partial<typeof options> = {}) =>
  servicesOf(container(given), { ...options, ...own }).services.map(({ registration: r }) => ({
    id: r.ID,
    name: r.Name,
    at: `${r.Address}:${r.Port}`,
    tags: r.Tags,
    meta: r.Meta,
  }));

const at = "192.168.1.102";

describe("examples from Registrator's documentation", () => {
  it("single service with defaults", () => {
    expect(brief(redis)).toEqual([
      { id: "hostname:redis.0:6379", name: "redis", at: `${at}:10000`, tags: [], meta: {} },
    ]);
  });

  const db = { SERVICE_NAME: "db", SERVICE_TAGS: "master,backups", SERVICE_REGION: "us2" };
  it.each([
    ["metadata", { ...redis, env: Object.entries(db).map(([key, value]) => `${key}=${value}`) }],
    ["labels", { ...redis, labels: db }],
  ])("single service with %s", (_, given) => {
    expect(brief(given)).toEqual([
      {
        id: "hostname:redis.0:6379",
        name: "db",
        at: `${at}:10000`,
        tags: ["master", "backups"],
        meta: { region: "us2" },
      },
    ]);
  });

  it("multiple services with defaults", () => {
    expect(brief(nginx).map(({ name, at }) => [name, at])).toEqual([
      ["nginx-80", `${at}:8000`],
      ["nginx-443", `${at}:4443`],
    ]);
  });

  it("multiple services with metadata", () => {
    const env = [
      "SERVICE_443_NAME=https",
      "SERVICE_443_ID=https.12345",
      "SERVICE_443_SNI=enabled",
      "SERVICE_80_NAME=http",
      "SERVICE_TAGS=www",
    ];
    expect(brief({ ...nginx, env })).toEqual([
      { id: "hostname:nginx.0:80", name: "http", at: `${at}:8000`, tags: ["www"], meta: {} },
      {
        id: "https.12345",
        name: "https",
        at: `${at}:4443`,
        tags: ["www"],
        meta: { sni: "enabled", [originKey]: "hostname:nginx.0:443" },
      },
    ]);
  });

  it("appends the port to a general name if there are several", () => {
    expect(brief({ ...nginx, env: ["SERVICE_NAME=web"] }).map(({ name }) => name)).toEqual([
      "web-80",
      "web-443",
    ]);
  });
});

describe("registration", () => {
  it("SERVICE_IGNORE ignores one port or all, unless its value means no", () => {
    expect(brief({ ...nginx, env: ["SERVICE_IGNORE=true"] })).toEqual([]);
    expect(brief({ ...nginx, env: ["SERVICE_IGNORE=please"] })).toEqual([]);
    expect(brief({ ...nginx, env: ["SERVICE_IGNORE=false"] })).toHaveLength(2);
    expect(brief({ ...nginx, env: ["SERVICE_80_IGNORE=1"] }).map(({ name }) => name)).toEqual(["nginx-443"]);
    expect(brief({ ...redis, env: ["SERVICE_IGNORE=false"] })[0]?.meta).toEqual({});
  });

  it("leaves out unpublished ports", () => {
    expect(brief({ ...redis, ports: { "6379/tcp": null } })).toEqual([]);
    expect(brief({ ...nginx, ports: { "80/tcp": "8000", "443/tcp": null } }).map(({ name }) => name)).toEqual(
      ["nginx"],
    );
  });

  it("tags UDP ports", () => {
    expect(brief({ name: "dns", image: "dns", ports: { "53/tcp": "53", "53/udp": "53" } })).toMatchObject([
      { id: "hostname:dns:53", name: "dns-53", tags: [] },
      { id: "hostname:dns:53:udp", name: "dns-53", tags: ["udp"] },
    ]);
  });

  it("SERVICE_<port>_UDP_… addresses the UDP half of a port", () => {
    const dns = { name: "dns", image: "dns", ports: { "53/tcp": "53", "53/udp": "53" } };
    const named = ["SERVICE_53_UDP_NAME=dns-udp", "SERVICE_53_NAME=dns", "SERVICE_53_TCP_PORT=5353"];
    const tagged = ["SERVICE_TAGS=tcp", "SERVICE_53_UDP_TAGS="];
    expect(brief({ ...dns, env: [...named, ...tagged] })).toMatchObject([
      { id: "hostname:dns:53", name: "dns", tags: ["tcp"], meta: { tcp_port: "5353" } },
      { id: "hostname:dns:53:udp", name: "dns-udp", tags: ["udp"] },
    ]);
    expect(brief({ ...dns, labels: { SERVICE_53_UDP_IGNORE: "true" } })).toMatchObject([
      { id: "hostname:dns:53" },
    ]);
    expect(brief({ ...dns, env: ["SERVICE_54_UDP_IGNORE=true"] })).toHaveLength(2);
  });

  it("-explicit requires a SERVICE_NAME", () => {
    expect(brief(redis, { explicit: true })).toEqual([]);
    expect(brief({ ...redis, env: ["SERVICE_NAME=db"] }, { explicit: true })).toHaveLength(1);
  });

  it("-tags adds tags", () => {
    expect(brief({ ...redis, env: ["SERVICE_TAGS=a"] }, { tags: ["b", "a"] })[0]?.tags).toEqual(["a", "b"]);
  });

  it("registers exposed ports on the host's network", () => {
    expect(brief({ ...redis, mode: "host", ports: {}, exposed: ["6379/tcp"] })).toMatchObject([
      { at: `${at}:6379` },
    ]);
  });

  it("registers ports of the host's network only where a program listens", () => {
    const given = { ...redis, mode: "host", ports: {}, exposed: ["6379/tcp", "81/tcp", "82/tcp", "83/udp"] };
    const listening: Record<number, string[]> = { 6379: [""], 81: ["127.0.0.1"] };
    const listenersOn = (port: number) => listening[port] ?? [];
    expect(brief(given, { listenersOn }).map(({ name, at }) => [name, at])).toEqual([
      ["redis-81", "127.0.0.1:81"],
      ["redis-83", `${at}:83`],
      ["redis-6379", `${at}:6379`],
    ]);
    const ignored = { ...given, env: ["SERVICE_82_IGNORE=true"] };
    const portsOf = (each: typeof given) => [
      ...servicesOf(container(each), { ...options, listenersOn }).hostPorts.keys(),
    ];
    expect([portsOf(given), portsOf(ignored)]).toEqual([
      [81, 82, 6379],
      [81, 6379],
    ]);
    const unknown = servicesOf(container(given), { ...options, listenersOn: () => undefined });
    expect(unknown.services).toHaveLength(4);
  });

  it("says why a container is thought to answer", () => {
    const claims = (given: Parameters<typeof container>[0], owner?: Parameters<typeof container>[0]) =>
      servicesOf(container(given), options, owner && container(owner)).services.map(({ claim }) => claim.by);
    const exposed = ["6379/tcp"];
    expect(claims({ ...redis, env: ["SERVICE_TAGS=rest"] })).toEqual(["published"]);
    expect(claims(redis)).toEqual(["unasked"]);
    expect(claims({ name: "x", mode: "container:y", exposed }, redis)).toEqual(["shared"]);
    expect(claims({ name: "x", mode: "host", exposed })).toEqual(["host"]);
    expect(claims({ name: "x", mode: "container:y", exposed }, { name: "y", mode: "host" })).toEqual([
      "host",
    ]);
  });

  it("-internal registers the container's address in the given network, or else in the first by name", () => {
    const networks = { ingress: "10.0.0.2", b: "172.20.0.3", a: "172.19.0.3" };
    const given = { ...redis, mode: "a", networks };
    expect(brief(given, { internal: true })[0]?.at).toBe("172.19.0.3:6379");
    expect(brief(given, { internal: true, network: "b" })[0]?.at).toBe("172.20.0.3:6379");
    const { services, problems } = servicesOf(container(given), { ...options, internal: true, network: "c" });
    expect(services).toEqual([]);
    expect(problems).toEqual([
      "container redis.0, port 6379: not registered: it has no address in network c",
    ]);
  });

  it("registers the address that a port is bound to", () => {
    const given = { ...redis, hostIp: "10.1.1.1", ipv6: false };
    expect(brief(given)[0]?.at).toBe("10.1.1.1:10000");
    const { services, problems } = servicesOf(container(given), { ...options, isOnlyNode: false });
    expect(services).toEqual([]);
    expect(problems).toEqual([
      `container redis.0, port 6379: not registered: it is bound to 10.1.1.1:10000, which the load balancers of other nodes cannot reach; bind it to ${at} or to all addresses`,
    ]);
  });

  it("-useIpFromLabel takes the address from a label", () => {
    const given = { ...redis, labels: { ip: "10.9.9.9/24" } };
    expect(brief(given, { addressLabel: "ip" })[0]?.at).toBe("10.9.9.9:10000");
    expect(brief(redis, { addressLabel: "ip" })[0]?.at).toBe(`${at}:10000`);
  });

  it("registers the ports of the container whose network it shares", () => {
    const owner = container({ name: "pod", image: "pause", ports: { "80/tcp": "8000", "81/tcp": "8001" } });
    const given = container({
      name: "web",
      image: "web",
      ports: {},
      exposed: ["80/tcp"],
      mode: `container:${owner.Id}`,
    });
    const { services } = servicesOf(given, options, owner);
    expect(services.map(({ registration: r }) => [r.ID, r.Name, r.Port])).toEqual([
      ["hostname:web:80", "web", 8000],
    ]);
  });
});

it.each([
  ["redis", "redis"],
  ["gliderlabs/foobar", "foobar"],
  ["registry:5000/team/web:1.2", "web"],
  ["team/web:1.2@sha256:abcd", "web"],
  ["web@sha256:abcd", "web"],
])("image %s gives the name %s", (image, name) => {
  expect(imageName(image)).toBe(name);
});

describe("hostile containers", () => {
  it("rejects an invalid name with a reason", () => {
    const given = container({ ...redis, env: ["SERVICE_NAME=a\nb"] });
    expect(servicesOf(given, options)).toEqual({
      services: [],
      notices: [],
      hostPorts: new Map(),
      problems: [
        'container redis.0, port 6379: not registered as "a\\u000ab": it contains a control character; set another SERVICE_NAME',
      ],
    });
  });

  it("drops exactly the meta and tags that Consul would refuse", () => {
    const env = [
      "SERVICE_OK=1",
      "SERVICE_BAD KEY=1",
      "SERVICE_CONSUL-X=1",
      "SERVICE_=1",
      "SERVICE___PROTO__=1",
      `SERVICE_LONG=${"x".repeat(513)}`,
      "SERVICE_TAGS=good,b\u0000d",
    ];
    const { services, problems } = servicesOf(container({ ...redis, env }), options);
    expect(services[0]?.registration).toMatchObject({ Meta: { ok: "1" }, Tags: ["good"] });
    expect(problems).toHaveLength(6);
  });

  it("keeps at most 64 meta pairs", () => {
    const env = Array.from({ length: 80 }, (_, n) => `SERVICE_K${n}=v`);
    const { services, problems } = servicesOf(container({ ...redis, env }), options);
    expect(Object.keys(services[0]?.registration.Meta ?? {})).toHaveLength(64);
    expect(problems).toEqual([
      "container redis.0, port 6379: left out 16 meta, the last in order of their keys: at most 64 fit",
    ]);
    const marked = servicesOf(container({ ...redis, env: [...env, "SERVICE_ID=x"] }), options);
    expect(Object.keys(marked.services[0]?.registration.Meta ?? {})).toHaveLength(64);
  });

  const many = <T>(count: number, each: (index: number) => T) =>
    Array.from({ length: count }, (_, n) => each(n));
  const everyPort = many(65_535, (n) => `${n + 1}/tcp`);

  it.each<[string, number, Parameters<typeof container>[0], number, number]>([
    ["published", 0, { ...redis, ports: Object.fromEntries(everyPort.map((port) => [port, "1"])) }, 512, 1],
    ["on the host's network", 0, { ...redis, ports: {}, exposed: everyPort, mode: "host" }, 512, 1],
    ["not published", 1, { ...redis, ports: {}, exposed: everyPort }, 0, 2],
    ["only named", 1, { ...redis, ports: {}, env: many(900, (n) => `SERVICE_${n + 1}_X=1`) }, 0, 2],
    ["named in every way", 1, { ...redis, ports: { "9/tcp": null }, env: ["SERVICE_9_X=1", "SERVICE_09_Y=1"] }, 0, 1],
  ])("limits ports that are %s", (_, notices, given, services, problems) => {
    const env = [...(given.env ?? []), "SERVICE_NAME=web", "SERVICE_TAGS=rest"];
    const found = servicesOf(container({ ...given, env }), options);
    expect(found.services).toHaveLength(services);
    expect(found.problems).toHaveLength(problems);
    if (problems > notices) expect(found.problems.at(-1)).toMatch(/redis.0: left out \d+ of .* more than (512|64)$/);
    expect(found.notices).toHaveLength(notices);
  }); // prettier-ignore

  it("reads the variables and labels once for all ports", () => {
    const given = container({ ...nginx, exposed: everyPort, env: ["SERVICE_TAGS=rest"] });
    const config = given.Config ?? {};
    let reads = 0;
    const counting = new Proxy(config, {
      get: (from, key) => {
        if (key === "Labels") reads++;
        return Reflect.get(from, key) as unknown;
      },
    });
    expect(servicesOf({ ...given, Config: counting }, options).services).toHaveLength(2);
    expect(reads).toBe(1);
  });

  it("does not register a container with too many variables, and says so once", () => {
    const env = ["SERVICE_NAME=web", "SERVICE_TAGS=rest", ...many(999, (n) => `SERVICE_K${n}=v`)];
    const why = "it has more than 1000 SERVICE_ variables and labels; remove some of them";
    const { services, problems, notices } = servicesOf(container({ ...nginx, env }), options);
    expect(services).toEqual([]);
    expect(problems).toEqual([`container nginx.0: not registered: ${why}`]);
    expect(notices).toEqual([{ container: "nginx.0", service: "web", why }]);
    expect(servicesOf(container({ ...nginx, env: env.slice(1) }), options).services).toHaveLength(2);
  });

  it("leaves out variables that are too long, and says how many", () => {
    const env = [`SERVICE_${"K".repeat(248)}=v`, `SERVICE_TAGS=${"x".repeat(16_385)}`, "SERVICE_NAME=web"];
    const { services, problems } = servicesOf(container({ ...redis, env }), options);
    expect(services[0]?.registration).toMatchObject({ Name: "web", Tags: [], Meta: {} });
    expect(problems).toEqual([
      "container redis.0: left out 2 of its SERVICE_ variables and labels: a name has at most 255 characters, a value 16384",
    ]);
  });

  it("limits tags, but not those that the operator adds", () => {
    const tags = [
      "rest",
      "x".repeat(513),
      "x".repeat(512),
      "a\u0000",
      "b\u0000",
      ...many(130, (n) => `t${n}`),
    ];
    const env = [`SERVICE_TAGS=${tags.join(",")}`];
    const found = servicesOf(container({ ...redis, env }), { ...options, tags: ["ours"] });
    expect(found.services[0]?.registration.Tags).toHaveLength(129);
    expect(found.services[0]?.registration.Tags.slice(-2)).toEqual(["t125", "ours"]);
    expect(found.problems).toEqual(
      [
        "left out 1 of its tags, which have more than 512 bytes",
        "left out 2 of its tags, which contain control characters",
        "left out 4 of its tags, which are beyond the first 128",
      ].map((problem) => `container redis.0, port 6379: ${problem}`),
    );
  });

  it("never throws, and never returns what Consul cannot accept", () => {
    const pair = fc.tuple(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }));
    const env = fc.array(pair.map(([key, value]) => `SERVICE_${key}=${value}`));
    const special = fc.constantFrom("NAME", "ID", "TAGS", "CHECK_HTTP", "6379_NAME", "CHECK_INTERVAL");
    const known = fc.array(
      fc.tuple(special, fc.string({ unit: "binary" })).map(([k, v]) => `SERVICE_${k}=${v}`),
    );
    fc.assert(
      fc.property(env, known, (one, two) => {
        for (const { registration: r } of servicesOf(container({ ...redis, env: [...one, ...two] }), options)
          .services) {
          expect(problemWithName(r.Name)).toBeUndefined();
          expect(problemWithName(r.ID)).toBeUndefined();
          expect(Object.keys(r.Meta).every((key) => /^[a-zA-Z0-9_-]{1,128}$/.test(key))).toBe(true);
          if (r.Check?.HTTP) expect(new URL(r.Check.HTTP).host).toBe(`${at}:10000`);
        }
      }),
    );
  });
});
