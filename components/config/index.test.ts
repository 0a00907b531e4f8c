import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

import { checkPassword, configKeys, loadConfig, type Config } from "./index";
import { parseHosts } from "../nodes/hosts/settings";
import { planRouting } from "../routing";

const { config: schema } = parse(readFileSync("Pulumi.yaml", "utf8")) as {
  config: Record<string, { default?: unknown }>;
};

/** Loads a configuration as an engine passes it to the program: defaults from Pulumi.yaml, values as text. */
function load(values: Readonly<Record<string, unknown>>): Config {
  const defaults = Object.entries(schema).map(([key, { default: value }]) => [key, value] as const);
  const own = Object.entries(values).map(([key, value]) => [`switchyard:${key}`, value] as const);
  const merged = new Map<string, unknown>([
    ...defaults,
    ["switchyard:statsPassword", "a-good-password"],
    ...own,
  ]);
  const all = [...merged].filter(([, value]) => value !== undefined);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(
      all.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    ),
    ["switchyard:statsPassword"],
  );
  return loadConfig();
}

const hello = { name: "hello/v1", build: "hello", port: 8080 };
const withService = (more: Readonly<Record<string, unknown>>) => ({ services: [{ ...hello, ...more }] });

void pulumi.runtime.setMocks(
  {
    newResource: ({ type }) => Promise.reject(new Error(type)),
    call: ({ token }) => Promise.reject(new Error(token)),
  },
  "switchyard",
  "test",
);

describe("the configuration", () => {
  test("has all defaults filled in", () => {
    const { services, ports, target, registratorImage } = load({ services: [hello] });
    expect({ ports, target, registratorImage }).toEqual({
      ports: { http: 80, stats: 1936, admin: 8404, consul: 8500, dns: 53 },
      target: "local",
      registratorImage: undefined,
    });
    expect(services).toEqual([
      {
        name: "hello/v1",
        source: { build: "hello" },
        port: 8080,
        ports: [],
        swarmName: "hello-v1",
        type: "rest",
        replicas: 1,
        env: {},
        meta: {},
        mode: "replicated",
        read_only: false,
        rebalance: false,
        init: false,
        cap_add: [],
        cap_drop: [],
        extra_hosts: {},
        volumes: [],
        secrets: [],
        configs: [],
        networks: [],
        depends_on: [],
        tmpfs: [],
        stopGracePeriodSeconds: 10,
      },
    ]);
  });

  test("accepts a range of instances", () => {
    const { services } = load(withService({ replicas: { min: 0, max: 5, target: 2, idle: "5m" } }));
    expect(services[0]?.replicas).toEqual({ min: 0, max: 5, targets: { concurrent: 2 }, idleMs: 300_000 });
  });

  describe("the autoscaler", () => {
    const range = { min: 0, max: 5, target: 2, idle: "5m" };
    const of = (values: object) => {
      const { autoscaler, ports, services } = load({ services: [hello], ...values });
      return [autoscaler, ports.autoscaler, services[0]?.replicas];
    };
    const scaled = { services: [{ ...hello, replicas: range }] };
    const awake = { min: 1, max: 5, targets: { concurrent: 2 } };

    test("runs if a service has a range", () => {
      expect(of({})).toEqual(["off", undefined, 1]);
      expect(of(scaled)).toEqual(["on", 8405, { ...awake, min: 0, idleMs: 300_000 }]);
      expect(of({ autoscaler: true })).toEqual(["on", 8405, 1]);
    });

    test("runs if a limit is automatic", () => {
      for (const limit of [{ memory: "auto" }, { cpus: { max: 2 } }])
        expect(of({ services: [{ ...hello, ...limit }] })).toEqual(["on", 8405, 1]);
      expect(of({ services: [{ ...hello, memory: "64m", cpus: 1 }] })).toEqual(["off", undefined, 1]);
      const chooses = (autoscaler: unknown) =>
        load({ services: [{ ...hello, cpus: "auto" }], autoscaler }).choosesLimits;
      expect([true, "dry", false].map(chooses)).toEqual([true, false, false]);
    });

    test("has its port if there is a job, even if it scales nothing", () => {
      const job = { services: [{ name: "report", image: "a:1", schedule: "0 3 * * *" }] };
      expect(of(job)).toEqual(["off", 8405, 1]);
      expect(of({ ...job, autoscaler: false })).toEqual(["off", 8405, 1]);
      expect([load(job).hasJobs, load({ services: [hello] }).hasJobs]).toEqual([true, false]);
      expect(() => load({ ...job, adminPort: 8405 })).toThrow(
        "autoscalerPort is 8405, the same as adminPort",
      );
    });

    test("lets no service sleep if it does not act", () => {
      expect(of({ ...scaled, autoscaler: "dry" })).toEqual(["dry", 8405, awake]);
      expect(of({ ...scaled, autoscaler: false })).toEqual(["off", undefined, awake]);
    });
  });

  test("accepts automatic limits", () => {
    const { services } = load(withService({ memory: { max: "1g" }, cpus: "auto" }));
    expect(services[0]?.limits).toEqual({
      memoryBytes: { min: 16 * 1024 ** 2, max: 1024 ** 3 },
      cpus: { min: 0.01, max: 1024 },
    });
  });

  test("accepts limits, a command and a health check", () => {
    const { services } = load(
      withService({
        cpus: 0.5,
        memory: "64m",
        command: ["serve"],
        healthCheck: { command: ["true"] },
        env: { N: "1" },
      }),
    );
    expect(services[0]).toMatchObject({
      limits: { cpus: 0.5, memoryBytes: 64 * 1024 ** 2 },
      command: ["serve"],
      healthCheck: {
        command: ["true"],
        intervalSeconds: 5,
        timeoutSeconds: 3,
        retries: 3,
        startPeriodSeconds: 0,
      },
      env: { N: "1" },
    });
  });
});

describe("env arrives as written in the stack file, or is rejected", () => {
  const written = (value: string) =>
    load({ services: [{ ...hello, env: parse(`KEY: ${value}`) as Record<string, unknown> }] }).services[0]
      ?.env;

  test.each([
    ['"012345"', "012345"],
    ["'1e5'", "1e5"],
    ['"true"', "true"],
    ['""', ""],
    ["v1.10", "v1.10"],
    ["1.2.3", "1.2.3"],
    ["yes", "yes"],
  ])("%s arrives", (value, text) => {
    expect(written(value)).toEqual({ KEY: text });
  });

  test.each([
    ["012345", "12345"],
    ["1e5", "100000"],
    ["1.10", "1.1"],
    ["0x1F", "31"],
    ["1234567890123456789", "1234567890123456800"],
    ["8080", "8080"],
    ["True", "true"],
    ["~", "null"],
    ["", "null"],
    // What Pulumi's CLI makes of `2024-01-01`.
    ["2024-01-01 00:00:00 +0000 UTC", '"2024-01-01 00:00:00 +0000 UTC"'],
  ])("%s, which YAML reads as %s, is rejected", (value, read) => {
    expect(() => written(value)).toThrow(
      `Configuration switchyard:services[0].env.KEY is ${read}: it must be text, as YAML does not keep the way it is written: put it in quotes`,
    );
  });
});

test("Pulumi.yaml has the keys, types, defaults and descriptions of the schema", () => {
  const { properties = {} } = z.toJSONSchema(z.object(configKeys), { io: "input", unrepresentable: "any" });
  const expected = Object.entries(properties).map(([key, property]) => {
    const { type, items, default: value, secret, description } = property as z.core.JSONSchema.JSONSchema;
    const ofItems = typeof items === "object" && "type" in items ? { items: { type: items.type } } : {};
    return [`switchyard:${key}`, clean({ type, ...ofItems, secret, default: value, description })];
  });
  expect(Object.entries(schema).map(([key, value]) => [key, clean(value)])).toEqual(expected);
});

const clean = (value: object): object => Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)); // prettier-ignore

describe("an error names the key and the cure", () => {
  test.each<[Record<string, unknown>, string]>([
    [{ target: "moon" }, "switchyard:target"],
    [{ replicsa: 3 }, "switchyard:replicsa is not known"],
    [{ httpPort: 0 }, "switchyard:httpPort is 0"],
    [{ httpPort: 1936 }, "switchyard:statsPort is 1936, the same as httpPort: give each its own port"],
    [{ redirectHttps: true }, "switchyard:redirectHttps is true, but HTTPS is not enabled"],
    [{ registry: "https://ghcr.io/acme" }, 'switchyard:registry is "https://ghcr.io/acme"'],
    [{ registry: "acme/images" }, "switchyard:registry"],
    [{ certificates: "certs" }, "switchyard:certificates"],
    [
      { certificates: "/certs", httpsPort: 80 },
      "switchyard:httpsPort is 80, the same as httpPort: give each its own port",
    ],
    [
      { trustedProxies: ["10.0.0.0/33"] },
      'switchyard:trustedProxies[0] is "10.0.0.0/33": it must be an address or a network such as "10.0.0.0/8"',
    ],
    [{ autoscaler: "maybe" }, 'switchyard:autoscaler is "maybe": it must be true, false or dry'],
    [
      { autoscaler: true, adminPort: 8405 },
      "switchyard:autoscalerPort is 8405, the same as adminPort: give each its own port",
    ],
    [{ proxyProtocol: true }, "switchyard:proxyProtocol is true, but nobody may use the PROXY protocol"],
    [{ certificateAuthorities: "ca.pem" }, "switchyard:certificateAuthorities"],
    [
      withService({ meta: { proto: "https", tls_ca: "own.pem", tls_server_name: "a.org" } }),
      "switchyard:services[0].meta.tls_ca names a file, but there is no folder: set certificateAuthorities",
    ],
    [{ statsPassword: undefined }, "script/up generates one"],
    [{ nodes: 0 }, "switchyard:nodes is 0"],
    [{ sshKey: "-oProxyCommand=x" }, "switchyard:sshKey"],
    [{ dockerHost: "http://x" }, "switchyard:dockerHost"],
    [{ baseImage: "-v /:/x" }, "switchyard:baseImage"],
    [{ services: {} }, "it must be a list"],
    [
      withService({ port: undefined }),
      "switchyard:services[0].port is missing, so nothing could reach hello/v1: set the port that its program listens on",
    ],
    [
      { services: [hello, { name: "shop/v1", image: "shop:1" }] },
      "switchyard:services[1].port is missing, so nothing could reach shop/v1: set the port",
    ],
    [withService({ port: "8080" }), 'is "8080"'],
    [withService({ build: undefined }), "needs either image or build"],
    [withService({ image: "nginx" }), "needs either image or build"],
    [{ registries: { "https://ghcr.io": {} } }, "switchyard:registries.https://ghcr.io is"],
    [{ registries: { "ghcr.io": { username: "acme" } } }, "switchyard:registries.ghcr.io.password is"],
    [withService({ build: "My App" }), 'services[0].build is "My App": it must be the name of a folder of'],
    [withService({ build: ["./web"] }), "services[0].build is"],
    [
      withService({ build: { context: "web" } }),
      'services[0].build.context is "web": it must be a folder such',
    ],
    [withService({ build: { dockerfile: "x" } }), "services[0].build.context is missing"],
    [withService({ build: { context: "./web", ars: {} } }), "services[0].build.ars is not known"],
    [withService({ build: { context: "./web", args: { A: 1 } } }), "services[0].build.args.A is 1"],
    [withService({ build: { context: "./web", platform: "arm" } }), "services[0].build.platform is"],
    [
      withService({ build: { context: "./web", secrets: ["token"] } }),
      "services[0].build.secrets[0] is token, which the stack's secrets do not have",
    ],
    [withService({ image: "$(reboot)", build: undefined }), "switchyard:services[0].image"],
    [withService({ replica: 3 }), "switchyard:services[0].replica is not known"],
    [
      withService({ replicas: 1.5 }),
      "switchyard:services[0].replicas is 1.5: it must be a whole number from 0 to 1000",
    ],
    [
      withService({ replicas: { min: 2, max: 20 } }),
      "switchyard:services[0].replicas does not say what an instance handles: set target, rate or cpu",
    ],
    [
      withService({ replicas: { min: 5, max: 2, target: 30 } }),
      "switchyard:services[0].replicas.max is 2, less than min, which is 5: raise max, or lower min",
    ],
    [
      withService({
        type: "tcp",
        meta: { tcp_port: 5432 },
        replicas: { min: 0, max: 2, target: 3, idle: "5m" },
      }),
      "switchyard:services[0].replicas.min is 0, but only requests of rest or http services wait",
    ],
    [
      withService({ memory: { min: "1g", max: "64m" } }),
      'switchyard:services[0].memory.max is "64m", less than min: raise max, or lower min',
    ],
    [
      withService({ memory: { least: "1g" } }),
      "switchyard:services[0].memory.least is not known: remove it, or use one of min, max",
    ],
    [
      withService({ cpus: "some" }),
      'switchyard:services[0].cpus is "some": it must be a number above 0, at most 1024, or auto',
    ],
    [
      withService({ cpus: "auto", replicas: { max: 3, cpu: "70%" } }),
      "switchyard:services[0].cpus is automatic, but processor use also decides the number of instances",
    ],
    [withService({ name: "hello/v1\nbackend x" }), "switchyard:services[0].name"],
    [withService({ type: "udp" }), "one of rest, http, tcp, none"],
    [
      withService({ type: "none" }),
      "services[0].port is set, but nothing reaches a service of type none: remove",
    ],
    [
      withService({ type: "none", port: undefined, meta: { sticky: true } }),
      "services[0].meta.sticky is set, but a service of type none is not registered: remove it",
    ],
    [
      withService({ type: "none", port: undefined, replicas: { min: 1, max: 2, cpu: "70%" } }),
      "services[0].replicas is a range, but a service of type none has no requests: set a number",
    ],
    [withService({ type: "tcp" }), "switchyard:services[0].meta.tcp_port is missing"],
    [
      withService({ ports: [{ port: 22, type: "tcp" }] }),
      "services[0].ports[0].meta.tcp_port is missing, so the load balancer has no port for hello/v1-22: set",
    ],
    [withService({ ports: [{ port: 22, meta: { stick: true } }] }), "services[0].ports[0].meta.stick is not"],
    [withService({ ports: [{ port: 8080 }] }), "services[0].ports[0].port is 8080, which is listed twice"],
    [
      withService({ ports: [{ port: 22, name: "hello/v1" }] }),
      "services[0].ports[0].name is hello/v1, a name that another service or port already has: rename",
    ],
    [
      withService({ ports: [{ port: 22 }], replicas: { max: 3, target: 5 } }),
      "services[0].replicas is a range, but the autoscaler knows the requests of one port only: set a number",
    ],
    [
      withService({ rebalance: true, volumes: ["data:/data"] }),
      "services[0].rebalance is true, but volume data is on one node: remove it",
    ],
    [
      withService({ rebalance: true, mode: "global" }),
      "services[0].rebalance is true, but every node has an instance: remove it",
    ],
    [
      withService({ type: "none", port: undefined, ports: [{ port: 22 }] }),
      "services[0].ports is set, but nothing reaches a service of type none: remove it",
    ],
    [
      withService({ volumes: ["data:/data"], replicas: 2 }),
      "services[0].replicas is more than 1, but volume data is on one node, and two instances must not write to it: set",
    ],
    [
      withService({ volumes: ["data:/data"], replicas: { min: 1, max: 2, rate: 5 } }),
      "services[0].replicas is more than 1, but volume data is on one node",
    ],
    [withService({ volumes: ["data:/data", "./x:/data/"] }), "services[0].volumes mounts /data twice"],
    [withService({ volumes: ["data"] }), 'services[0].volumes[0] is "data": write SOURCE:TARGET'],
    [
      { ...withService({ volumes: ["./conf:/conf"] }), target: "aws" },
      "services[0].volumes[0] is ./conf, a path on this machine, which the nodes do not have: use an absolute path",
    ],
    [withService({ tmpfs: ["/a", "/a"] }), "mounts /a twice"],
    [withService({ placement: { constraints: ["disk==ssd"] } }), "services[0].placement.constraints[0]"],
    [
      withService({ secrets: ["db"] }),
      "services[0].secrets[0] is db, which the stack's secrets do not have: script/secret secrets.db",
    ],
    [withService({ configs: [{ source: "x" }] }), "services[0].configs[0] is x, which the stack's configs do not have: set configs.x.file"], // prettier-ignore
    [{ secrets: { "a b": "x" } }, "secrets.a b"],
    [
      { secrets: { a: 7 } },
      "secrets.a is invalid: it must be text: set it with --secret, or put it in quotes",
    ],
    [{ secrets: { a: "" } }, "secrets.a is invalid: it must have 1 byte"],
    [{ configs: { a: {} } }, "configs.a needs either file or content: set one of the two"],
    [
      { configs: { a: { path: "x" } } },
      "configs.a.path is not known: remove it, or use one of file, content",
    ],
    [
      { ...withService({ secrets: ["a", { source: "a", target: "a" }] }), secrets: { a: "x" } },
      "services[0].secrets mounts a twice: give each its own target",
    ],
    [
      withService({ mode: "global", replicas: 2 }),
      "services[0].replicas is set, but the mode is global: remove it",
    ],
    [
      withService({ mode: "global", volumes: ["data:/data"] }),
      "services[0].mode is global, but volume data is on one",
    ],
    [
      withService({ update: { order: "start-first" }, volumes: ["data:/data"] }),
      "services[0].update.order is start-first, but two instances must not write to data: remove it",
    ],
    [
      withService({ update: { order: "start-first" }, volumes: ["/srv/data:/data"] }),
      "services[0].update.order is start-first, but two instances must not write to /srv/data: remove it",
    ],
    [
      withService({ stopGracePeriodSeconds: 90, volumes: ["data:/data"] }),
      "services[0].stopGracePeriodSeconds is 90, but Docker waits only a minute",
    ],
    [
      withService({ cpus: { max: 0.1234 } }),
      "it must be a number from 0.01 to 1024, with at most two decimals",
    ],
    [
      withService({ update: { delay: 10 } }),
      'services[0].update.delay is 10: it must be a time such as "10s"',
    ],
    [
      withService({ update: { action: "pause" } }),
      "services[0].update.action is not known: remove it, or use one of",
    ],
    [withService({ restart_policy: { condition: "always" } }), "one of any, on-failure, none"],
    [withService({ user: "a b" }), "services[0].user"],
    [withService({ user: 1000 }), "services[0].user is 1000"],
    [withService({ read_only: "yes" }), "services[0].read_only"],
    [withService({ cap_add: ["net admin"] }), "services[0].cap_add[0]"],
    [withService({ ulimits: { nofile: { soft: 1 } } }), "services[0].ulimits.nofile.hard is missing"],
    [withService({ stop_signal: "9" }), "services[0].stop_signal"],
    [withService({ extra_hosts: { "a b": "10.0.0.7" } }), "services[0].extra_hosts is"],
    [withService({ extra_hosts: ["db.lan:10.0.0.700"] }), "services[0].extra_hosts is"],
    [
      withService({ extra_hosts: { "rest.service.consul": "10.0.0.7" } }),
      "which is the load balancer of the instance's own node",
    ],
    [withService({ logging: { driver: "$(x)" } }), "services[0].logging.driver"],
    [withService({ placement: { spread: ["zone"] } }), "services[0].placement.spread[0]"],
    [withService({ entrypoint: "sh" }), "services[0].entrypoint"],
    [withService({ memory: "1m" }), "at least"],
    [withService({ env: { "A B": "x" } }), "switchyard:services[0].env.A B"],
    [withService({ env: { A: "x\ny" } }), "one line of text"],
    [withService({ meta: { "x\ny": "1" } }), "switchyard:services[0].meta"],
    [withService({ meta: { helth_path: "/" } }), "services[0].meta.helth_path is not known"],
    [withService({ healthCheck: { command: [] } }), "is empty"],
    [
      withService({ command: ["sleep", 60] }),
      "services[0].command[1] is 60: it must be a program or an argument; put numbers in quotes",
    ],
    [withService({ command: ["date", "2024-01-01 00:00:00 +0000 UTC"] }), "put it in quotes"],
    [withService({ healthCheck: { command: ["x"], every: 1 } }), "healthCheck.every is not known"],
    [
      { services: [hello, hello] },
      "services[1].name is hello/v1, a name that another service already has: rename",
    ],
    [
      { services: [hello, { ...hello, name: "hello-v1" }] },
      "is hello-v1, but its name in Docker, hello-v1, is already taken by hello/v1: rename",
    ],
  ])("%j", (values, message) => {
    expect(() => load(values)).toThrow(message);
  });

  test("an error shows neither a secret nor other values of the same key", () => {
    pulumi.runtime.setAllConfig(
      {
        "switchyard:statsPassword": "a-good-password",
        "switchyard:services": JSON.stringify([{ ...hello, env: { TOKEN: "hush\nhush" } }]),
      },
      ["switchyard:statsPassword", "switchyard:services"],
    );
    expect(() => loadConfig()).toThrow(
      "Configuration switchyard:services[0].env.TOKEN is invalid: it must be one line of text",
    );
  });

  test("an error about a range does not show it if it may be secret", () => {
    expect(() => withSecrets({ services: JSON.stringify([{ ...hello, replicas: "hush" }]) })).toThrow(
      "Configuration switchyard:services[0].replicas is invalid: it must be a whole number",
    );
  });

  const withSecrets = (values: Readonly<Record<string, string>>) => {
    const all = { statsPassword: "a-good-password", services: "[]", ...values };
    const config = Object.fromEntries(
      Object.entries(all).map(([key, value]) => [`switchyard:${key}`, value]),
    );
    pulumi.runtime.setAllConfig(
      config,
      Object.keys(values).map((key) => `switchyard:${key}`),
    );
    return loadConfig();
  };

  test("a secret inside the services is known, and the user of the statistics page may be one", async () => {
    const { services, statsUser } = withSecrets({ services: JSON.stringify([hello]), statsUser: "carla" });
    expect(services[0]?.hasSecrets).toBe(true);
    expect(await pulumi.isSecret(pulumi.output(statsUser))).toBe(true);
    expect(load({ services: [hello] }).services[0]?.hasSecrets).toBeUndefined();
  });

  test("a secret that would be shown is rejected", () => {
    expect(() => withSecrets({ httpPort: "81" })).toThrow(
      "Configuration switchyard:httpPort is secret, but previews, outputs and routes show it: set it without --secret",
    );
  });

  test.each<[string, unknown]>([
    ["target", 7],
    ["nodes", "three"],
    ["hosts", "alpha"],
    ["hosts", ["alpha"]],
    ["machine", [1]],
    ["adminCidrs", [1]],
    ["redirectHttps", "maybe"],
    ["services", ["hello"]],
    ["services", [{ ...hello, healthCheck: 7 }]],
    ["services", [{ ...hello, healthCheck: {} }]],
    ["services", [{ ...hello, command: "serve" }]],
    ["services", [{ ...hello, cpus: "many" }]],
    ["services", [{ ...hello, env: ["A=b"] }]],
    ["services", [{ ...hello, meta: { weight: [1] } }]],
    ["services", [{ ...hello, image: 7, build: undefined }]],
  ])("%s: %j is rejected with our own message", (key, value) => {
    expect(() => load({ [key]: value })).toThrow(
      /^Configuration switchyard:\S+ is .+: (?:it must be|choose one of|list the program) /,
    );
  });

  test("the first mistake in a list of hosts is rejected with our own message", () => {
    expect(() => parseHosts([{ name: "a", address: 7, docker: "ssh://a" }])).toThrow(
      'Configuration switchyard:hosts[0].address is 7: it must be the address at which the other nodes reach it, such as "10.0.0.7"',
    );
  });

  test("a weak password is rejected, and a password is never shown", () => {
    expect(() => checkPassword("short")).toThrow(
      /^Configuration switchyard:statsPassword is invalid: it must be 12/,
    );
    expect(checkPassword("long-enough-to-use")).toBe("long-enough-to-use");
  });
});

describe("routing is planned exactly as the load balancer will route", () => {
  const plan = (values: Readonly<Record<string, unknown>>) => {
    const { services, ports } = load(values);
    return () => planRouting(services, ports);
  };

  test("services and versions get their routes", () => {
    const routing = plan({ services: [hello, { ...hello, name: "hello/v2" }] })();
    expect(routing.routes.map(({ path, targets }) => [path, targets[0]?.service])).toEqual([
      ["/hello", "hello/v2"],
      ["/hello/v1", "hello/v1"],
      ["/hello/v2", "hello/v2"],
    ]);
  });

  test.each<[Record<string, unknown>, RegExp]>([
    [
      { services: [hello, { ...hello, name: "other", meta: { path: "/hello/v1" } }] },
      /services\[1\].*\/hello\/v1/s,
    ],
    [withService({ meta: { balance: "fastest" } }), /services\[0\].*SERVICE_BALANCE/s],
    [withService({ type: "tcp", meta: { tcp_port: 80 } }), /services\[0\].*httpPort/s],
  ])("%j is rejected", (values, message) => {
    expect(plan(values)).toThrow(message);
  });
});
