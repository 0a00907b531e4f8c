import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RefusedError } from "../../../lib/http";
import { Registry, type Agent } from "./consul/registry";
import type { ContainerEvent } from "./docker/client";
import { container, options, type Given } from "./fixtures";
import { Registrar, type Engine } from "./registrar";
import type { ActualService, Inspect, Registration } from "./types";

/** A fake Docker Engine and Consul agent under the test's control, which record every write. */
class World implements Engine, Agent {
  readonly containers = new Map<string, Inspect>();
  readonly agent = new Map<string, ActualService>();
  secret: string | undefined;
  /** The services in maintenance mode, which a write of the service ends. */
  readonly modes = new Map<string, string>();
  readonly writes: string[] = [];
  readonly log: string[] = [];
  consulDown = false;
  nodes = 1;
  readonly listening = new Map<number, string[]>();
  dockerDown = false;
  inspectDelayMs = 0;
  refuse: (registration: Registration) => string | undefined = () => undefined;
  private listener: ((event: ContainerEvent) => void) | undefined;
  private close: (() => void) | undefined;
  private readonly stop = new AbortController();

  /** Events that the engine remembers from before the connection. */
  past: ContainerEvent[] = [];

  start(flags: { killGraceSeconds?: number } = {}): void {
    const say = (line: string) => this.log.push(line);
    const registry = new Registry(this, "consul", options, say, () => {
      registrar.syncSoon();
    });
    const listenersOn = (port: number) => this.listening.get(port) ?? [];
    const settings = { ...options, resyncSeconds: 2, listenersOn, ...flags };
    const registrar = new Registrar(this, registry, settings, say);
    void registrar.run(this.stop.signal);
  }
  end(): void {
    this.stop.abort();
  }

  put(given: Given): string {
    const inspect = container({ ports: { "80/tcp": "8000" }, ...given });
    this.containers.set(inspect.Id, inspect);
    return inspect.Id;
  }
  event(id: string, action: string, attributes: Record<string, string> = {}): void {
    this.listener?.(this.eventOf(id, action, attributes));
  }
  eventOf(id: string, action: string, attributes: Record<string, string>, ageMs = 0): ContainerEvent {
    const atMs = Date.now() - ageMs;
    return { id, action, attributes: { name: id.replace("id-of-", ""), ...attributes }, atMs, ageMs };
  }
  cut(): void {
    this.listener = undefined;
    this.close?.();
  }

  connect(): Promise<string> {
    return this.dockerDown ? Promise.reject(new Error("ECONNREFUSED")) : Promise.resolve("fake");
  }
  events(listener: (event: ContainerEvent) => void): Promise<{ closed: Promise<void> }> {
    this.listener = listener;
    this.past.splice(0).forEach(listener);
    return Promise.resolve({ closed: new Promise<void>((resolve) => (this.close = resolve)) });
  }
  async inspect(id: string): Promise<Inspect | undefined> {
    const answer = this.containers.get(id);
    await new Promise((resolve) => setTimeout(resolve, this.inspectDelayMs));
    return answer;
  }
  list() {
    if (this.dockerDown) return Promise.reject(new Error("ECONNREFUSED"));
    return Promise.resolve(
      [...this.containers].map(([id, it]) => ({
        id,
        name: it.Name.slice(1),
        signature: JSON.stringify(it.State),
      })),
    );
  }

  token(): Promise<string | undefined> {
    return Promise.resolve(this.secret);
  }
  isOnlyNode(): Promise<boolean> {
    return this.consulDown ? Promise.reject(new Error("ECONNREFUSED")) : Promise.resolve(this.nodes === 1);
  }
  services(): Promise<Map<string, ActualService>> {
    return this.consulDown ? Promise.reject(new Error("ECONNREFUSED")) : Promise.resolve(new Map(this.agent));
  }
  maintenance(): Promise<ReadonlyMap<string, string>> {
    return this.consulDown ? Promise.reject(new Error("ECONNREFUSED")) : Promise.resolve(new Map(this.modes));
  }
  register(
    { Check: check, ...registration }: Registration,
    health: string | undefined,
    maintenance?: string,
  ): Promise<void> {
    if (this.consulDown) return Promise.reject(new Error("ECONNREFUSED"));
    const refusal = this.refuse({ ...registration, ...(check && { Check: check }) });
    if (refusal) return Promise.reject(new RefusedError(400, refusal));
    this.writes.push(`+${registration.ID}`);
    this.modes.delete(registration.ID);
    if (maintenance !== undefined) this.modes.set(registration.ID, maintenance);
    const status = health ?? check?.Status ?? "critical";
    this.agent.set(registration.ID, {
      registration,
      ...(check && { check: { name: check.Name ?? "", status } }),
    });
    return Promise.resolve();
  }
  deregister(id: string): Promise<void> {
    if (this.consulDown) return Promise.reject(new Error("ECONNREFUSED"));
    this.writes.push(`-${id}`);
    this.agent.delete(id);
    this.modes.delete(id);
    return Promise.resolve();
  }
  updateCheck(id: string, health: string): Promise<void> {
    const found = this.agent.get(id);
    if (!found?.check) return Promise.reject(new RefusedError(500, "no TTL"));
    this.writes.push(`${health} ${id}`);
    this.agent.set(id, { ...found, check: { ...found.check, status: health } });
    return Promise.resolve();
  }
}

let world: World;
const after = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const web = "hostname:web:80";
/** Chained promises settle between timers, so one large step of the clock would not be enough. */
async function settled(): Promise<void> {
  for (let step = 0; step < 20; step++) await after(1);
}
/** Returns the writes since the last call. */
const writes = () => world.writes.splice(0);

beforeEach(() => {
  vi.useFakeTimers();
  world = new World();
});
afterEach(() => {
  world.end();
  vi.useRealTimers();
});

it("registers a started container immediately and only once", async () => {
  world.start();
  await settled();
  const id = world.put({ name: "web" });
  world.event(id, "start");
  await settled();
  expect(writes()).toEqual([`+${web}`]);
  await after(10_000);
  expect(writes()).toEqual([]);
  expect(world.log.at(-1)).toBe(`registered image (${web}) at 192.168.1.102:8000: container web started`);
});

it("leaves no service of a container that dies during its inspection", async () => {
  world.start();
  await settled();
  world.inspectDelayMs = 50;
  const id = world.put({ name: "web" });
  world.event(id, "start");
  await after(10);
  world.containers.delete(id);
  world.event(id, "die");
  await after(5_000);
  expect([...world.agent.keys()]).toEqual([]);
  expect(writes()).toEqual([]);
});

it("at start, keeps correct services, removes stale ones and leaves foreign ones alone", async () => {
  world.put({ name: "web" });
  const service = (ID: string, Port: number): ActualService => ({
    registration: { ID, Name: "image", Address: "192.168.1.102", Port, Tags: [], Meta: {} },
  });
  for (const id of [web, "hostname:gone:80", "other:gone:80", "redis"])
    world.agent.set(id, service(id, 8000));
  world.start();
  await after(5_000);
  expect(writes()).toEqual(["-hostname:gone:80"]);
  world.event("id-of-web", "kill", { signal: "15" });
  await settled();
  expect(writes()).toEqual([`-${web}`]);
});

it("deregisters a container at its stop signal, and -kill-grace registers it again if it survives", async () => {
  const id = world.put({ name: "web", stopSignal: "SIGQUIT" });
  world.start({ killGraceSeconds: 15 });
  await settled();
  writes();
  world.event(id, "kill", { signal: "1" });
  await after(5_000);
  expect(writes()).toEqual([]);
  world.event(id, "kill", { signal: "3" });
  await after(14_000);
  expect(writes()).toEqual([`-${web}`]);
  await after(2_000);
  expect(writes()).toEqual([`+${web}`]);
  expect(world.log.at(-1)).toContain("container web still runs 15 s after its stop signal");
});

it("keeps a container away that takes longer to stop than its own timeout, and says so once", async () => {
  const id = world.put({ name: "web", stopTimeout: 10 });
  world.start();
  await settled();
  world.event(id, "kill", { signal: "15" });
  await after(600_000);
  expect(writes()).toEqual([`+${web}`, `-${web}`]);
  expect(world.log.filter((line) => line.includes("may still end"))).toHaveLength(1);
  await after(3_020_000);
  expect(writes()).toEqual([`+${web}`]);
});

it("registers a container again once it passes a health check well after its stop signal", async () => {
  const id = world.put({ name: "web", health: "healthy" });
  world.start();
  await settled();
  world.event(id, "kill", { signal: "15" });
  await after(59_000);
  // It answered while it was finishing its requests.
  world.put({ name: "web", health: "healthy", passedAtMs: [Date.now() - 1_000] });
  await after(20_000);
  expect(writes()).toEqual([`+${web}`, `-${web}`]);
  world.put({ name: "web", health: "healthy", passedAtMs: [Date.now()] });
  await after(6_000);
  expect(writes()).toEqual([`+${web}`]);
  expect(world.log.at(-1)).toMatch(/container web passes its health check \d+ s after its stop signal/);
});

it("a new start ends the wait, even if its event was missed", async () => {
  const id = world.put({ name: "web", health: "healthy", startedAtMs: Date.now() });
  world.start();
  await settled();
  world.event(id, "kill", { signal: "15" });
  await after(20_000);
  expect(writes()).toEqual([`+${web}`, `-${web}`]);
  world.put({ name: "web", health: "starting", startedAtMs: Date.now() });
  await after(5_000);
  expect(writes()).toEqual([`+${web}`]);
});

it("learns of stop signals from before it connected", async () => {
  const nginx = world.put({ name: "nginx", stopSignal: "SIGQUIT" });
  const id = world.put({ name: "web" });
  const told = world.put({ name: "told" });
  world.agent.set("hostname:told:80", {
    registration: {
      ID: "hostname:told:80",
      Name: "image",
      Address: "192.168.1.102",
      Port: 8000,
      Tags: [],
      Meta: {},
    },
  });
  const kill = (of: string, signal: string, ageMs: number) => world.eventOf(of, "kill", { signal }, ageMs);
  world.past = [
    kill(nginx, "3", 9_000),
    kill(nginx, "1", 8_000),
    kill(id, "15", 7_000),
    world.eventOf(id, "die", {}, 6_000),
    world.eventOf(id, "start", {}, 5_000),
    kill(told, "15", 4_000),
  ];
  world.start();
  await after(10_000);
  expect(writes().sort()).toEqual([`+${web}`, "-hostname:told:80"]);
});

it("follows Docker's HEALTHCHECK with check updates, not registrations", async () => {
  const id = world.put({ name: "web", health: "starting" });
  world.start();
  await settled();
  expect(world.agent.get(web)?.check?.status).toBe("warning");
  writes();
  world.put({ name: "web", health: "healthy" });
  world.event(id, "health_status: healthy");
  await after(10_000);
  expect(writes()).toEqual([`passing ${web}`]);
  world.put({ name: "web", health: "unhealthy" });
  await after(3_000);
  expect(writes()).toEqual([`critical ${web}`]);
});

it("retries until Consul answers, then registers everything", async () => {
  world.consulDown = true;
  const id = world.put({ name: "web" });
  world.start();
  await after(10_000);
  world.event(id, "health_status: healthy");
  world.put({ name: "late" });
  world.event("id-of-late", "start");
  await after(1_000);
  expect(world.log.filter((line) => line.includes("does not answer"))).toHaveLength(1);
  world.consulDown = false;
  await after(300);
  expect(writes().sort()).toEqual(["+hostname:late:80", `+${web}`]);
});

it("registers everything again in an emptied Consul", async () => {
  world.put({ name: "web" });
  world.start();
  await settled();
  writes();
  world.agent.clear();
  await after(2_000);
  expect(writes()).toEqual([`+${web}`]);
});

it("deregisters nothing while the engine is away, and catches up afterwards", async () => {
  const id = world.put({ name: "web" });
  world.put({ name: "stays" });
  world.start();
  await settled();
  writes();
  world.dockerDown = true;
  world.cut();
  world.containers.delete(id);
  await after(60_000);
  expect(writes()).toEqual([]);
  world.dockerDown = false;
  await after(6_000);
  expect(writes()).toEqual([`-${web}`]);
  expect(world.log.filter((line) => line.includes("Docker does not answer"))).toHaveLength(1);
});

it("registers a service without the check that Consul refuses, once", async () => {
  world.refuse = ({ Check: check }) => (check ? "no such check" : undefined);
  world.put({ name: "web", env: ["SERVICE_CHECK_TCP=true"] });
  world.put({ name: "other" });
  world.start();
  await after(30_000);
  expect(writes().sort()).toEqual(["+hostname:other:80", `+${web}`]);
  expect(world.log.filter((line) => line.includes("without its check"))).toHaveLength(1);
});

it("reports a refused service once, and registers the others", async () => {
  world.refuse = ({ Name: name }) => (name === "bad" ? "no" : undefined);
  world.put({ name: "web", env: ["SERVICE_NAME=bad"] });
  world.put({ name: "other", ports: { "80/tcp": "8001" } });
  world.start();
  await after(130_000);
  expect(writes()).toEqual(["+hostname:other:80"]);
  expect(world.log.filter((line) => line.includes('refused bad (hostname:web:80): "no"'))).toHaveLength(1);
});

it("lets no container fill the log or the notices of a node", async () => {
  const ports = Array.from({ length: 100 }, (_, index) => index + 1);
  const env = ["SERVICE_TAGS=rest", ...ports.map((port) => `SERVICE_${port}_NAME=web//${port}`)];
  const published = Object.fromEntries(ports.map((port) => [`${port}/tcp`, String(8_000 + port)]));
  world.put({ name: "web", ports: published, env });
  world.put({ name: "x", ports: { "80/tcp": null }, env: ["SERVICE_NAME=x", "SERVICE_TAGS=rest"] });
  world.start();
  await after(10_000);
  const lines = world.log.filter((line) => line.startsWith("container web"));
  expect(lines).toHaveLength(51);
  expect(lines.at(-1)).toBe("container web: 50 other problems");
  const told = Object.values(world.agent.get("hostname:registrator:0")?.registration.Meta ?? {});
  expect(told).toHaveLength(11);
  expect(told.at(-1)).toContain('"x"');
});

it("deregisters a paused container until it is unpaused", async () => {
  const id = world.put({ name: "web" });
  world.start();
  await settled();
  writes();
  world.put({ name: "web", paused: true });
  world.event(id, "pause");
  await after(10_000);
  expect(writes()).toEqual([`-${web}`]);
  world.put({ name: "web" });
  world.event(id, "unpause");
  await settled();
  expect(writes()).toEqual([`+${web}`]);
});

it("tells the load balancers about a container without a published port, until it is gone", async () => {
  const env = ["SERVICE_NAME=web", "SERVICE_TAGS=rest"];
  const notices = "hostname:registrator:0";
  const id = world.put({ name: "web", ports: { "80/tcp": null }, env });
  world.start();
  await settled();
  expect(writes()).toEqual([`+${notices}`]);
  expect(world.agent.get(notices)?.registration.Meta).toEqual({
    notice_1: '["web","web","its port 80 is not published; start it with -P or -p 80"]',
  });
  expect(world.log.filter((line) => line.startsWith("container web: not registered"))).toHaveLength(1);
  await after(10_000);
  expect(writes()).toEqual([]);
  world.containers.delete(id);
  world.event(id, "die");
  await settled();
  expect(writes()).toEqual([`-${notices}`]);
});

it("tells the load balancers about a container that takes long to stop", async () => {
  const id = world.put({ name: "web", env: ["SERVICE_TAGS=rest"] });
  world.start();
  await settled();
  world.event(id, "kill", { signal: "15" });
  await after(14_000);
  expect(writes()).toEqual([`+${web}`, `-${web}`]);
  await after(2_000);
  expect(writes()).toEqual(["+hostname:registrator:0"]);
  world.event(id, "die");
  await settled();
  expect(writes()).toEqual(["-hostname:registrator:0"]);
});

it("registers everything again with a new token, and once only", async () => {
  world.start();
  world.put({ name: "web" });
  await settled();
  expect(writes()).toEqual([`+${web}`]);
  for (const secret of ["one", "two"]) {
    world.secret = secret;
    await after(2_500);
    expect(writes()).toEqual([`+${web}`]);
    await after(5_000);
    expect(writes()).toEqual([]);
  }
});

it("gives a service a valid token before it deregisters it, or the agent could not", async () => {
  world.secret = "one";
  world.start();
  const id = world.put({ name: "web" });
  await settled();
  writes();
  world.secret = "two";
  world.event(id, "die");
  await settled();
  expect(writes()).toEqual([`+${web}`, `-${web}`]);
});

it("keeps a service in maintenance mode over a restart of its container, until somebody ends it", async () => {
  world.start();
  const id = world.put({ name: "web" });
  await settled();
  const restart = async () => {
    world.event(id, "kill", { signal: "15" });
    await settled();
    expect(world.agent.has(web)).toBe(false);
    world.event(id, "die");
    world.event(id, "start");
    await settled();
    expect(world.agent.has(web)).toBe(true);
  };
  world.modes.set(web, "upgrade");
  await restart();
  expect(world.modes.get(web)).toBe("upgrade");
  expect(world.log.at(-1)).toContain(", in maintenance mode as before: ");
  await restart();
  expect(world.modes.get(web)).toBe("upgrade");
  world.modes.clear();
  await restart();
  expect(world.modes.size).toBe(0);
});

it("keeps a service in maintenance mode when its registration changes", async () => {
  world.start();
  const id = world.put({ name: "web", labels: { SERVICE_ID: "chosen" } });
  await settled();
  world.modes.set("chosen", "upgrade");
  world.put({ name: "web", labels: { SERVICE_ID: "chosen", SERVICE_TAGS: "rest" } });
  world.event(id, "rename");
  await settled();
  expect(world.agent.get("chosen")?.registration.Tags).toEqual(["rest"]);
  expect(world.modes.get("chosen")).toBe("upgrade");
});

it("registers ports that only this machine reaches until Consul's cluster gets a second node", async () => {
  world.put({ name: "web", hostIp: "127.0.0.1", ipv6: false });
  world.put({ name: "all" });
  world.start();
  await settled();
  expect(world.agent.get(web)?.registration).toMatchObject({ Address: "127.0.0.1", Port: 8000 });
  writes();
  world.nodes = 2;
  await after(2_000);
  expect(writes()).toEqual([`-${web}`]);
  expect(world.log).toContainEqual(expect.stringContaining("container web, port 80: not registered"));
  world.nodes = 1;
  await after(2_000);
  expect(writes()).toEqual([`+${web}`]);
});

it("keeps the registrations of an only node when Consul goes away", async () => {
  world.put({ name: "web", hostIp: "127.0.0.1", ipv6: false });
  world.start();
  await settled();
  writes();
  world.consulDown = true;
  await after(10_000);
  world.consulDown = false;
  await after(10_000);
  expect(writes()).toEqual([]);
});

it("follows the ports of a container whose networks change", async () => {
  const id = world.put({ name: "web" });
  world.start();
  await settled();
  writes();
  world.put({ name: "web", ports: { "80/tcp": null } });
  world.event(id, "disconnect", { container: id, name: "bridge" });
  await settled();
  expect(writes()).toEqual([`-${web}`]);
  world.put({ name: "web", ports: { "80/tcp": "9000" } });
  world.event(id, "connect", { container: id, name: "bridge" });
  await settled();
  expect(world.agent.get(web)?.registration.Port).toBe(9000);
  // As a part of its start, before it runs.
  world.event("id-of-new", "connect", { container: "id-of-new" });
  await settled();
  expect(world.log.join()).not.toContain("id-of-new");
});

describe("a container that shares another's network", () => {
  const early = Date.parse("2026-01-01T10:00:00.9Z");
  const late = Date.parse("2026-01-01T10:00:01.15Z");
  const member = "hostname:member:80";
  const putOwner = (given: Partial<Given> = {}) => world.put({ name: "owner", startedAtMs: early, ...given });
  const putMember = (given: Partial<Given> = {}) => {
    const mode = "container:id-of-owner";
    const own = { ports: {}, exposed: ["80/tcp"], mode, env: ["SERVICE_NAME=member"] };
    return world.put({ name: "member", ...own, startedAtMs: late, ...given });
  };
  const isRegistered = () => world.agent.has(member);

  beforeEach(async () => {
    putOwner();
    putMember();
    world.start();
    await settled();
    expect(world.agent.get(member)?.registration.Port).toBe(8000);
  });

  it("leaves at the owner's stop signal, and returns only with the owner's new network", async () => {
    world.event("id-of-owner", "kill", { signal: "15" });
    await settled();
    expect(isRegistered()).toBe(false);
    writes();
    putOwner({ running: false });
    world.event("id-of-owner", "die");
    await settled();
    putOwner({ startedAtMs: late + 60_000, ports: { "80/tcp": "9000" } });
    world.event("id-of-owner", "start");
    await after(60_000);
    expect(writes()).toEqual(["+hostname:owner:80"]);
    expect(world.log).toContain(
      "container member: not registered: container owner, whose network it shares, was started after it and has a new network; restart this one too",
    );
    putMember({ startedAtMs: late + 61_000 });
    world.event("id-of-member", "start");
    await settled();
    expect(world.agent.get(member)?.registration.Port).toBe(9000);
  });

  it("returns if the owner survives its stop signal", async () => {
    world.event("id-of-owner", "kill", { signal: "15" });
    await settled();
    expect(isRegistered()).toBe(false);
    await after(3_700_000);
    expect(isRegistered()).toBe(true);
  });

  it("leaves when the owner dies, even if no event says so", async () => {
    world.containers.delete("id-of-owner");
    await after(3_000);
    expect(isRegistered()).toBe(false);
    expect(world.log.at(-1)).toContain("the container whose network it shares does not exist any more");
  });

  it("leaves before the owner's port can be used by another container", async () => {
    world.inspectDelayMs = 1_000;
    putOwner({ running: false });
    world.event("id-of-owner", "die");
    await settled();
    expect(isRegistered()).toBe(false);
  });

  it("follows the owner's ports", async () => {
    putOwner({ ports: { "80/tcp": "9000" } });
    world.event("id-of-owner", "connect", { container: "id-of-owner" });
    await settled();
    expect(world.agent.get(member)?.registration.Port).toBe(9000);
  });

  it("stays while the owner is paused, because its network is not", async () => {
    putOwner({ paused: true });
    writes();
    world.event("id-of-owner", "pause");
    await after(10_000);
    expect(writes()).toEqual([]);
    expect(isRegistered()).toBe(true);
  });
});

describe("a container on the host's network", () => {
  const a = "hostname:a:80";
  const b = "hostname:b:80";
  const notices = "hostname:registrator:0";
  const put = (name: string, startedAtMs = Date.now()) => {
    const env = [`SERVICE_NAME=${name}`];
    return world.put({ name, ports: {}, exposed: ["80/tcp"], mode: "host", env, startedAtMs });
  };
  const start = async (name: string) => {
    world.event(put(name), "start");
    await settled();
  };
  const registered = () => [...world.agent.keys()].sort();

  beforeEach(async () => {
    world.start();
    await settled();
  });

  it("is registered once it has listened for a second", async () => {
    await start("a");
    await after(3_000);
    expect(registered()).toEqual([]);
    world.listening.set(80, [""]);
    await after(800);
    expect(registered()).toEqual([]);
    await after(800);
    expect(registered()).toEqual([a]);
    expect(world.log.join()).not.toContain("nothing listens");
    await after(20_000);
    expect(writes()).toEqual([`+${a}`]);
    world.listening.delete(80);
    await after(2_100);
    expect(registered()).toEqual([]);
  });

  it("is reported once if it does not listen within 10 s", async () => {
    await start("a");
    await after(9_000);
    expect(world.log.join()).not.toContain("nothing listens");
    await after(20_000);
    expect(world.log.filter((line) => line.includes("nothing listens"))).toEqual([
      "container a, port 80: not registered: it uses the host's network, where nothing listens on port 80; EXPOSE the port that the program uses (--expose PORT), and set SERVICE_80_IGNORE=true",
    ]);
    world.listening.set(80, [""]);
    await after(6_000);
    expect(registered()).toEqual([a]);
  });

  it("keeps its port when another one exposes it too", async () => {
    world.listening.set(80, [""]);
    await start("a");
    await after(2_000);
    await start("b");
    await after(5_000);
    expect(registered()).toEqual([a]);
    expect(world.log).toContain(
      "container b: not registered as b: its address, 192.168.1.102:80, is that of a (container a); if it does not listen there, set SERVICE_80_IGNORE=true",
    );
    world.containers.delete("id-of-a");
    world.event("id-of-a", "die");
    await settled();
    expect(registered()).toEqual([]);
    await after(2_000);
    expect(registered()).toEqual([b]);
  });

  it("keeps its port while another one that exposes it fails to start again and again", async () => {
    world.listening.set(80, [""]);
    await start("a");
    await after(2_000);
    for (let tries = 0; tries < 3; tries++) {
      await start("b");
      world.containers.delete("id-of-b");
      world.event("id-of-b", "die");
      await settled();
      expect(registered()).toEqual([a]);
    }
    expect(writes()).toEqual([`+${a}`]);
  });

  it("does not get the port of one that ends slowly", async () => {
    world.listening.set(80, [""]);
    await start("a");
    await after(2_000);
    await start("b");
    await after(5_000);
    world.event("id-of-a", "kill", { signal: "15" });
    await after(5_000);
    expect(registered()).toEqual([]);
  });

  it("does not get the port of one that is paused, which gets it back", async () => {
    world.listening.set(80, [""]);
    await start("a");
    await after(2_000);
    await start("b");
    await after(5_000);
    put("a");
    world.event("id-of-a", "pause");
    await settled();
    expect(registered()).toEqual([]);
    world.event("id-of-a", "unpause");
    await after(5_000);
    expect(registered()).toEqual([a]);
  });

  it("is not registered if two come to listen at the same time", async () => {
    await start("a");
    await start("b");
    world.listening.set(80, [""]);
    await after(5_000);
    expect(registered()).toEqual([]);
  });

  it.each([
    ["is ignored", { env: ["SERVICE_IGNORE=true"] }],
    ["ends slowly", {}],
    ["is paused", { paused: true }],
  ])("does not get the port that another container publishes, which %s", async (state, given) => {
    await start("a");
    await after(20_000);
    world.listening.set(80, [""]);
    world.event(world.put({ name: "b", ports: { "80/tcp": "80" }, ...given }), "start");
    if (state === "ends slowly") world.event("id-of-b", "kill", { signal: "15" });
    await after(10_000);
    expect(registered()).not.toContain(a);
    expect(world.log.join()).toContain(
      "container b publishes port 80; EXPOSE the port that the program uses",
    );
    world.containers.delete("id-of-b");
    world.event("id-of-b", "die");
    // Docker takes a moment to release the port.
    await after(1_000);
    world.listening.delete(80);
    await after(3_000);
    expect(writes().filter((write) => write.endsWith(a))).toEqual([]);
  });

  it("does not get a port that Docker has bound for a container which it is starting", async () => {
    await start("a");
    world.event("id-of-b", "connect");
    world.listening.set(80, [""]);
    await after(8_000);
    expect(registered()).toEqual([]);
    world.event(world.put({ name: "b", ports: { "80/tcp": "80" }, env: ["SERVICE_NAME=b"] }), "start");
    await after(5_000);
    expect(registered()).toEqual([b]);
  });

  it("is on the load balancers' pages if another one has its port", async () => {
    world.listening.set(80, [""]);
    await start("a");
    await after(2_000);
    const given = {
      ports: {},
      exposed: ["80/tcp"],
      mode: "host",
      env: ["SERVICE_TAGS=rest", "SERVICE_NAME=b"],
    };
    world.event(world.put({ name: "b", ...given }), "start");
    await after(3_000);
    expect(registered()).toEqual([a, notices]);
    expect(world.agent.get(notices)?.registration.Meta["notice_1"]).toContain("is that of a (container a)");
  });

  it("has no claim to a port that it did not use before another one came", async () => {
    await start("a");
    await after(20_000);
    await start("b");
    world.listening.set(80, [""]);
    await after(5_000);
    expect(registered()).toEqual([b]);
  });

  it("yields to a container that publishes the port", async () => {
    world.listening.set(80, [""]);
    await start("a");
    world.event(world.put({ name: "b", ports: { "80/tcp": "80" }, env: ["SERVICE_NAME=b"] }), "start");
    await settled();
    expect(registered()).toEqual([b]);
  });

  it("is not registered while it cannot be told which one listens", async () => {
    world.consulDown = true;
    put("a", 0);
    put("b", 0);
    world.listening.set(80, [""]);
    await after(3_000);
    world.consulDown = false;
    await after(3_000);
    expect(registered()).toEqual([]);
    expect(world.log.filter((line) => line.includes("may be that of")).sort()).toEqual([
      "container a: not registered as a: its address, 192.168.1.102:80, may be that of b (container b); if it does not listen there, set SERVICE_80_IGNORE=true",
      "container b: not registered as b: its address, 192.168.1.102:80, may be that of a (container a); if it does not listen there, set SERVICE_80_IGNORE=true",
    ]);
  });
});

it("keeps a registered container on the host's network when another one exposes its port", async () => {
  const exposing = (name: string): Given => ({
    name,
    ports: {},
    exposed: ["80/tcp"],
    mode: "host",
    env: [`SERVICE_NAME=${name}`],
  });
  world.put(exposing("a"));
  world.put(exposing("b"));
  world.listening.set(80, [""]);
  const at = { Address: "192.168.1.102", Port: 80, Tags: [], Meta: {} };
  world.agent.set("hostname:b:80", { registration: { ID: "hostname:b:80", Name: "b", ...at } });
  world.start();
  await after(5_000);
  expect([...world.agent.keys()]).toEqual(["hostname:b:80"]);
  expect(writes()).toEqual([]);
});
