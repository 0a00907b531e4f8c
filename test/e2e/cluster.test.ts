import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { messageOf } from "../../lib/errors";
import type { ScalingStatus } from "../../routing/scaling/status";
import { get, startLoad, until, type Answer } from "./http";
import { bootMachines, Machine, removeMachines } from "./machines";
import { clusterStack as stack, outputOf, succeeded, type ServiceEntry } from "./stack";
import { afterwards, tearDown } from "./tear-down";

// The life of a stack on three machines, in order: each part starts from the state that the previous one left.

const hello = (replicas: number): ServiceEntry => ({
  name: "hello/v1",
  build: "hello",
  port: 8080,
  // A range, so that every machine has an autoscaler.
  replicas: { min: replicas, max: replicas, target: 1000 },
  env: { NAME: "hello/v1" },
  networks: { back: { aliases: ["greeter"] } },
});

let machines: Machine[];
let before: string[];
const machine = (name: string): Machine => {
  const found = machines.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no machine ${name}`);
  return found;
};
const urlOf = ({ address }: Machine): string => `http://${address}/hello/v1`;
let consulPort = 8500;
const configure = (replicas: number, ...names: string[]): void => {
  const hosts = names
    .map(machine)
    .map(({ name, address, dockerHost }) => ({ name, address, docker: dockerHost }));
  stack.configure([hello(replicas)], { target: "hosts", hosts, consulPort });
};

beforeAll(async () => {
  machines = ["one", "two", "three"].map((name, index) => new Machine(name, index + 1));
  afterwards(removeMachines);
  await bootMachines(machines);
  afterwards(async () => {
    for (const one of machines) await one.connected(true);
    await stack.remove();
  });
  before = await Promise.all(machines.map(belongings));
});

afterAll(tearDown);

describe("a machine with live-restore", () => {
  test("is refused before anything is made", async () => {
    await machine("two").configureEngine({ "live-restore": true });
    await expect.poll(() => machine("two").docker("info", "-f", "{{.LiveRestoreEnabled}}")).toBe("true");
    configure(4, "one", "two");
    const { code, output } = await stack.up();
    expect(output).toContain("has live-restore on, with which Docker refuses to be in a Swarm");
    expect(code).toBe(1);
    expect(await Promise.all(machines.map(belongings))).toEqual(before);
    await machine("two").configureEngine({ "live-restore": false });
    await expect.poll(() => machine("two").docker("info", "-f", "{{.LiveRestoreEnabled}}")).toBe("false");
  });
});

describe("a stack of two machines", () => {
  test("answers on both machines from instances on both", async () => {
    configure(4, "one", "two");
    succeeded(await stack.up());
    for (const name of ["one", "two"]) expect((await answering(machine(name), 4)).size, name).toBe(4);
    expect(await instancesOn(machine("one"))).not.toHaveLength(0);
    expect(await instancesOn(machine("two"))).not.toHaveLength(0);
  });

  test("a second up changes nothing", async () => {
    succeeded(await stack.up("--expect-no-changes"));
  });

  test("a third machine joins without a failed request", async () => {
    const loads = ["one", "two"].map((name) => startLoad(urlOf(machine(name)), { perSecond: 100 }));
    const running = await instancesOn(machine("one"));
    configure(6, "one", "two", "three");
    succeeded(await stack.up());
    expect(await instancesOn(machine("three"))).not.toHaveLength(0);
    expect(await instancesOn(machine("one"))).toEqual(expect.arrayContaining(running));
    for (const name of ["one", "two", "three"])
      expect((await answering(machine(name), 6)).size, name).toBe(6);
    for (const load of loads) expect((await load.stop()).failures).toEqual({});
    await expect.poll(() => servers(), { timeout: 30_000 }).toEqual(["one", "three", "two"]);
  });

  test("the autoscaler of one machine decides, by what the load balancers of all tell it", async () => {
    await expect.poll(() => leaders(), { timeout: 30_000 }).toHaveLength(1);
    await expect.poll(() => balancersWithFigures(), { timeout: 30_000 }).toEqual(["one", "three", "two"]);
  });

  test("Consul's servers take no RPC without TLS, and no gossip that is not encrypted", async () => {
    for (const name of ["one", "two", "three"]) {
      const pem = (file: string) => machine(name).docker("exec", "consul", "cat", `/secrets/tls/${file}.pem`);
      const [ca, cert, key] = await Promise.all([pem("authorities"), pem("certificate"), pem("key")]);
      const hosts = machines.map(({ address }) => address);
      // The firewall takes only machines for each other.
      expect(await callsFrom(machine(name), hosts), name).toEqual(hosts.map(() => "refused"));
      expect(await callsFrom(machine(name), hosts, { ca, cert, key }), name).toEqual(
        hosts.map(() => "answered"),
      );
      const info = await machine(name).docker("exec", "consul", "consul", "info", consulAddress());
      expect(/^serf_lan:[^:]*?encrypted = (\w+)/m.exec(info)?.[1], name).toBe("true");
    }
  });

  test("an instance reaches the load balancer of its own node by name", async () => {
    for (const name of ["one", "three"]) {
      const [instance = ""] = await instancesOn(machine(name));
      const code = `fetch("http://rest.service.consul/hello/v1/asked-by-${name}")`;
      await machine(name).docker("exec", instance, "node", "-e", code);
      const log = await machine(name).docker("logs", "--tail", "100", "rest");
      expect(log.includes(`/hello/v1/asked-by-${name}`), name).toBe(true);
    }
  });
});

test("instances in a network reach each other by name, on all machines, at their own port", async () => {
  const [instance = ""] = await instancesOn(machine("one"));
  const code = `
    const ask = async (address) => (await (await fetch("http://" + address + ":8080/")).json()).hostname;
    require("dns").promises.resolve4("hello-v1").then((all) => Promise.all([...all, "greeter"].map(ask)))
      .then((names) => console.log(JSON.stringify([...new Set(names)].sort())))`;
  const answered = JSON.parse(await machine("one").docker("exec", instance, "node", "-e", code)) as unknown;
  expect(answered).toEqual([...(await answering(machine("one")))].sort());
});

describe("the firewall", () => {
  const refused = async (attempt: Promise<string>): Promise<boolean> => {
    const answer = await attempt.then(() => "connected", messageOf);
    return answer.includes("Connection refused");
  };
  const connect = (address: string, port: number | string) => `exec 3<>/dev/tcp/${address}/${port}`;

  test("lets machines reach instances on each other, and no container, nor anybody else", async () => {
    const { address } = machine("two");
    const [on = ""] = await instancesOn(machine("two"));
    const instance = await portOf(machine("two"), on);
    const [service = ""] = await instancesOn(machine("one"));
    const image = await machine("one").docker("inspect", "-f", "{{.Config.Image}}", service);
    const byHand = await machine("one").docker("run", "-d", "--rm", "-e", "SERVICE_IGNORE=true", image);
    await machine("one").inNetwork("bash", "-c", connect(address, instance));
    for (const container of [service, byHand]) {
      const attempt = (port: number) =>
        machine("one").docker("exec", container, "bash", "-c", connect(address, port));
      await attempt(80);
      for (const port of [instance, 1936, 2377, 7946, 8300, 8301, 8302])
        expect(await refused(attempt(port)), `port ${port}`).toBe(true);
    }
    await machine("one").docker("rm", "-f", byHand);
    for (const port of [instance, 1936, 2377, 7946, 8300, 8301, 8302])
      expect(await refused(outputOf("bash", "-c", connect(address, port))), `port ${port}`).toBe(true);
  });
});

describe("an update of Consul", () => {
  test("replaces one server after the other, and fails no request", async () => {
    const names = ["one", "two", "three"];
    await expect.poll(() => servers(), { timeout: 30_000 }).toHaveLength(3);
    const loads = names.map((name) => startLoad(urlOf(machine(name)), { perSecond: 50 }));
    const life = followConsul(names);
    consulPort = 8501;
    configure(6, ...names);
    succeeded(await stack.up());
    const wished = names.flatMap((name) => [`${name} ended`, `${name} is healthy`]);
    await expect.poll(() => life.soFar()).toEqual(wished);
    life.end();
    for (const load of loads) expect((await load.stop()).failures).toEqual({});
    expect(await servers()).toEqual(["one", "three", "two"]);
    for (const name of names) expect((await answering(machine(name), 6)).size, name).toBe(6);
  });
});

describe("a machine failure", () => {
  test("costs no request, and its instances restart elsewhere", async () => {
    const loads = ["one", "two"].map((name) =>
      startLoad(urlOf(machine(name)), { perSecond: 100, timeoutMs: 60_000 }),
    );
    await sleep(1000);
    const started = Date.now();
    await machine("three").kill();
    const gone = Promise.all(
      ["one", "two"].map((name) => withoutInstancesOf(machine(name), machine("three"))),
    );
    await gone;
    const seconds = (Date.now() - started) / 1000;
    console.log(`a dead machine's routes were gone everywhere after ${seconds.toFixed(1)} s`);
    expect(seconds).toBeLessThan(30);
    for (const name of ["one", "two"]) await answering(machine(name), 6);
    const results = await Promise.all(loads.map((load) => load.stop()));
    console.log("requests while it died:", JSON.stringify(results));
    for (const { failures } of results) expect(failures).toEqual({});
  });

  test("the machine rejoins when it comes back", async () => {
    const load = startLoad(urlOf(machine("one")), { perSecond: 100 });
    await machine("three").start();
    expect((await until(urlOf(machine("three")), is200, { seconds: 60 })).status).toBe(200);
    await expect.poll(() => servers(), { timeout: 30_000 }).toEqual(["one", "three", "two"]);
    await expect.poll(() => readyNodes(), { timeout: 60_000 }).toBe(3);
    expect((await load.stop()).failures).toEqual({});
    await expect.poll(() => leaders(), { timeout: 60_000 }).toHaveLength(1);
    succeeded(await stack.up("--expect-no-changes"));
  });
});

describe("an engine that restarts", () => {
  test.each(["TERM", "KILL"] as const)("after SIG%s comes back with everything by itself", async (signal) => {
    const load = startLoad(urlOf(machine("one")), { perSecond: 100 });
    const started = Date.now();
    await machine("three").restartEngine(signal);
    expect((await until(urlOf(machine("three")), is200, { seconds: 60 })).status).toBe(200);
    await expect.poll(() => servers(), { timeout: 30_000 }).toEqual(["one", "three", "two"]);
    await expect.poll(() => readyNodes(), { timeout: 60_000 }).toBe(3);
    console.log(
      `all was back ${((Date.now() - started) / 1000).toFixed(1)} s after SIG${signal} to the engine`,
    );
    // The firewall is as it was.
    const rpc = `exec 3<>/dev/tcp/${machine("three").address}/8300`;
    await expect(outputOf("bash", "-c", rpc)).rejects.toThrow("Connection refused");
    // Registrator follows the engine's new socket.
    const name = `after-${signal.toLowerCase()}`;
    const labels = ["-l", `SERVICE_NAME=${name}`, "-l", "SERVICE_TAGS=rest"];
    const [instance = ""] = await instancesOn(machine("one"));
    const hello = await machine("one").docker("inspect", "-f", "{{.Config.Image}}", instance);
    const id = await machine("three").docker("run", "-d", "-P", ...labels, hello);
    expect((await until(`http://${machine("one").address}/${name}`, is200)).status).toBe(200);
    await machine("three").docker("rm", "-f", id);
    expect((await load.stop()).failures).toEqual({});
  });
});

describe("a cut link", () => {
  test("costs no request, nor does its return", async () => {
    const load = startLoad(urlOf(machine("one")), { perSecond: 100, timeoutMs: 60_000 });
    const started = Date.now();
    await machine("two").connected(false);
    await withoutInstancesOf(machine("one"), machine("two"));
    const seconds = (Date.now() - started) / 1000;
    console.log(`the routes to a machine behind a cut link were gone after ${seconds.toFixed(1)} s`);
    expect(seconds).toBeLessThan(30);
    await sleep(5000);
    await machine("two").connected(true);
    expect((await until(urlOf(machine("two")), is200, { seconds: 60 })).status).toBe(200);
    await expect.poll(() => servers(), { timeout: 30_000 }).toEqual(["one", "three", "two"]);
    await expect.poll(() => readyNodes(), { timeout: 60_000 }).toBe(3);
    const result = await load.stop();
    console.log("requests while a link was cut:", JSON.stringify(result));
    expect(result.failures).toEqual({});
  });
});

describe("removing a machine", () => {
  test("the first machine can be removed: its instances move away first and the others keep serving", async () => {
    const loads = ["two", "three"].map((name) => startLoad(urlOf(machine(name)), { perSecond: 100 }));
    configure(4, "two", "three");
    succeeded(await stack.up());
    for (const load of loads) expect((await load.stop()).failures).toEqual({});
    expect(await belongings(machine("one"))).toBe(before[0]);
    // The new leader waits for a sign of life of each.
    await expect.poll(() => readyNodes("two"), { timeout: 60_000 }).toBe(2);
    expect(await servers("two")).toEqual(["two"]);
    const members = await machine("two").docker("exec", "consul", "consul", "members", consulAddress());
    expect(members).not.toContain("one");
    for (const name of ["two", "three"]) expect((await answering(machine(name), 4)).size, name).toBe(4);
  });

  test("the first of two machines cannot be removed, because the other could not take over", async () => {
    configure(2, "three");
    const { code, output } = await stack.up();
    expect(code).toBe(1);
    expect(output).toContain("Add a third node");
    expect((await answering(machine("three"), 4)).size).toBe(4);
    configure(4, "two", "three");
  });
});

describe("down", () => {
  test("removes everything on every machine", async () => {
    succeeded(await stack.down());
    expect(await Promise.all(machines.map(belongings))).toEqual(before);
  });
});

const is200 = ({ status }: Answer): boolean => status === 200;

/** The instances that answer through a machine's load balancer. Waits until there are at least `wished`. */
async function answering(at: Machine, wished = 0): Promise<Set<string>> {
  const deadline = Date.now() + 90_000;
  for (;;) {
    const names = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const { status, body } = await get(urlOf(at));
      if (status === 200) names.add(String((JSON.parse(body) as Record<string, unknown>)["hostname"]));
    }
    if (names.size >= wished || Date.now() > deadline) return names;
  }
}

/** The machines whose autoscalers decide about the service. */
async function leaders(): Promise<string[]> {
  const ask = `fetch("http://127.0.0.1:8405/status").then(async (answer) => console.log(await answer.text()))`;
  const statuses = await Promise.all(machines.map((one) => one.inNetwork("node", "-e", ask)));
  return statuses
    .map((text) => JSON.parse(text) as { node: string; isLeading: boolean; status?: ScalingStatus })
    .filter(({ isLeading, status }) => isLeading && status?.services.some(({ name }) => name === "hello/v1"))
    .map(({ node }) => node);
}

async function balancersWithFigures(): Promise<string[]> {
  const list = ["consul", "kv", "get", "-keys", consulAddress(), "service/autoscaler/figures/"];
  const keys = await machine("one").docker("exec", "consul", ...list);
  return keys
    .split("\n")
    .map((key) => key.split("/").at(-1) ?? "")
    .sort();
}

/** Calls the Consul servers at some addresses from a machine. */
async function callsFrom(of: Machine, hosts: readonly string[], options?: object): Promise<string[]> {
  const code = `
    const { callConsul } = require("./test/e2e/consul-rpc.ts");
    const { hosts, options } = JSON.parse(process.argv[1]);
    Promise.all(hosts.map((host) => callConsul(host, options))).then((all) => console.log(JSON.stringify(all)));`;
  const input = JSON.stringify({ hosts, options });
  return JSON.parse(await of.inNetwork("node", "-r", "./lib/register.cjs", "-e", code, input)) as string[];
}

/** IDs of the service's running containers on a machine. */
async function instancesOn(of: Machine): Promise<string[]> {
  const ids = await of.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=hello-v1");
  return ids.split("\n").filter((id) => id !== "");
}

/** The port on the node of an instance. */
async function portOf(on: Machine, instance: string): Promise<number> {
  return Number((await on.docker("port", instance)).split("\n")[0]?.split(":").at(-1));
}

interface Routes {
  readonly services: readonly { readonly instances: readonly { address: string; state: string }[] }[];
}

/** Waits until a machine's load balancer sends no requests to another machine. */
async function withoutInstancesOf(at: Machine, other: Machine): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline) {
    await sleep(100);
    const page = await at.docker("exec", "rest", "node", "-e", fetchRoutes);
    const { services } = JSON.parse(page) as Routes;
    const used = services.flatMap(({ instances }) => instances).filter(({ state }) => state === "up");
    if (!used.some(({ address }) => address.startsWith(`${other.address}:`))) return;
  }
  throw new Error(`the load balancer of ${at.name} still sends requests to ${other.name}`);
}
const fetchRoutes = `fetch("http://127.0.0.1:8404/routes").then((r) => r.text()).then((t) => { console.log(t); })`;

const consulAddress = (): string => `-http-addr=127.0.0.1:${consulPort}`;

/** Names of the Consul servers with a vote. A new server gets its vote after 10 s of good health. */
async function servers(at = "one"): Promise<string[]> {
  const command = ["consul", "operator", "raft", "list-peers", consulAddress()];
  const peers = await machine(at).docker("exec", "consul", ...command);
  const voters = peers.split("\n").filter((line) => /\btrue\b/.test(line));
  return voters.map((line) => line.split(/\s+/)[0] ?? "").sort();
}

/** Follows Consul's containers on all machines. */
function followConsul(names: readonly string[]): { soFar(): string[]; end(): void } {
  const what: Readonly<Record<string, string>> = { die: "ended", "health_status: healthy": "is healthy" };
  const filters = ["container=consul", ...["die", "health_status"].map((event) => `event=${event}`)];
  const flags = [
    ...filters.flatMap((filter) => ["--filter", filter]),
    "--format",
    "{{.TimeNano}} {{.Action}}",
  ];
  const seen: { readonly at: bigint; readonly event: string }[] = [];
  const followers = names.map((name) => {
    const follower = spawn("docker", ["-H", machine(name).dockerHost, "events", ...flags]);
    createInterface({ input: follower.stdout }).on("line", (line) => {
      const [at = "", ...action] = line.split(" ");
      seen.push({ at: BigInt(at), event: `${name} ${what[action.join(" ")] ?? action.join(" ")}` });
    });
    return follower;
  });
  return {
    /** In order of time. */
    soFar: () => seen.sort((a, b) => (a.at < b.at ? -1 : 1)).map(({ event }) => event),
    end: () => {
      for (const follower of followers) follower.kill();
    },
  };
}

async function readyNodes(at = "one"): Promise<number> {
  const nodes = await machine(at).docker("node", "ls", "--format", "{{.Status}}");
  return nodes.split("\n").filter((status) => status === "Ready").length;
}

/** Everything a stack could leave behind on a machine. */
async function belongings(of: Machine): Promise<string> {
  const parts = await Promise.all([
    of.docker("ps", "-aq"),
    of.docker("network", "ls", "--format", "{{.Name}}"),
    of.docker("volume", "ls", "-q"),
    of.docker("info", "--format", "{{.Swarm.LocalNodeState}}"),
    of.inNetwork("nft", "list", "tables"),
  ]);
  return parts.join("\n");
}
