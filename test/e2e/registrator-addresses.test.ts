import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";

import { Balancer, ConsulAlone } from "./balancer";
import { consulImage } from "./bases";
import { bridgeAddress as bridge, docker, hostAddress as outside, lines, removeContainers } from "./docker";
import { get, until } from "./http";
import { buildImage } from "./images";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

// The addresses that Registrator registers, with the real engine, a Consul and a load balancer of its own. A request must
// never be answered by another service. It uses ports 23000 to 23999.

const image = "switchyard/registrator:e2e-addresses";
/** The same, and says that it uses port 8080: Docker allows no `--expose` with the network of another container. */
const exposing = "switchyard/registrator:e2e-exposing";
const main = join(__dirname, "../../templates/registrator/dist/main.js");

let consul: ConsulAlone;
let balancer: Balancer;
let log = "";

/** Runs a container that answers on `PORT`, by default 8080, with its service's name. */
async function run(name: string, flags: readonly string[], from = image): Promise<string> {
  const code =
    "require('http').createServer((q,r)=>r.end(process.env.SERVICE_NAME)).listen(Number(process.env.PORT||8080))";
  const own = ["--name", `ra-t-${name}`, "--init", "-e", `SERVICE_NAME=${name}`, "-e", "SERVICE_TAGS=rest"];
  return docker("run", "-d", ...own, ...flags, "--entrypoint", "node", from, "-e", code);
}

/** The arguments of a container that only runs. */
const idle = ["--entrypoint", "node", image, "-e", "setInterval(()=>{},1e6)"];

/** The body of the answer to a request for a service; its status if it is not 200. */
async function ask(name: string): Promise<string> {
  const { status, body } = await get(`${balancer.url}/${name}`);
  return status === 200 ? body : String(status);
}
const answers = (name: string) => until(`${balancer.url}/${name}`, ({ status }) => status === 200);

/** Asks for services without a pause; `stop` returns the answers that came from other services. */
function watch(...names: string[]): { stop: () => Promise<string[]> } {
  const wrong: string[] = [];
  let isOver = false;
  const all = names.map(async (name) => {
    while (!isOver) {
      const answer = await ask(name);
      if (answer !== name && !/^\d+$/.test(answer)) wrong.push(`${name} was answered by ${answer}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  return {
    stop: async () => {
      isOver = true;
      await Promise.all(all);
      return wrong;
    },
  };
}

/** Where Consul says that a service is. */
async function registered(name: string): Promise<string[]> {
  const { body } = await get(`http://${consul.address}/v1/catalog/service/${name}`);
  const found = JSON.parse(body) as { ServiceAddress: string; ServicePort: number }[];
  return found.map(({ ServiceAddress, ServicePort }) => `${ServiceAddress} ${ServicePort}`);
}

async function removeAll(): Promise<void> {
  const all = lines(await docker("ps", "-aq", "--filter", "name=^ra-t-", "--filter", `ancestor=${image}`));
  if (all.length > 0) await removeContainers(...all);
}

beforeAll(async () => {
  await buildImage("registrator", image);
  const context = scratch();
  writeFileSync(join(context.path, "Dockerfile"), `FROM ${image}\nEXPOSE 8080\n`);
  await docker("build", "-q", "-t", exposing, context.path);
  consul = await ConsulAlone.start({ name: "ra-t", port: 23_500 });
  balancer = await Balancer.start({ name: "ra-t", port: 23_000, consul: consul.address });
  const registrator = spawn(process.execPath, [
    main,
    "-hostname=ra-t",
    `-ip=${bridge}`,
    `consul://${consul.address}`,
  ]);
  afterwards(() => {
    registrator.kill();
  });
  registrator.stdout.on("data", (chunk: Buffer) => (log += chunk.toString()));
  await vi.waitFor(
    () => {
      expect(log).toContain("following the events");
    },
    { timeout: 20_000 },
  );
});
afterEach(removeAll);
afterAll(tearDown);

test("a port published on one address of the machine is registered there", async () => {
  const port = 23_110;
  await run("outside", ["-p", `${outside}:${port}:8080`]);
  await run("bridge", ["-p", `${bridge}:${port}:8080`]);
  await run("loopback", ["-p", `127.0.0.1:${port}:8080`]);
  await run("loopback6", ["-p", `[::1]:${port}:8080`]);
  await run("everywhere", ["-p", "8080"]);
  const names = ["outside", "bridge", "loopback", "loopback6", "everywhere"];
  for (const name of names) await answers(name);
  const watched = watch(...names);
  await docker("stop", "-t", "1", "ra-t-bridge");
  for (const name of names.filter((each) => each !== "bridge")) expect(await ask(name)).toBe(name);
  await docker("start", "ra-t-bridge");
  await answers("bridge");
  expect(await watched.stop()).toEqual([]);
  expect(await registered("outside")).toEqual([`${outside} ${port}`]);
  expect(await registered("bridge")).toEqual([`${bridge} ${port}`]);
  expect(await registered("loopback")).toEqual([`127.0.0.1 ${port}`]);
  expect(await registered("loopback6")).toEqual([`::1 ${port}`]);
  expect((await registered("everywhere"))[0]).toContain(`${bridge} `);
});

test("all IPv4 and all IPv6 addresses are different addresses", async () => {
  const port = 23_120;
  await run("six", ["-p", `[::]:${port}:8080`]);
  await answers("six");
  await run("four", ["-p", `${outside}:${port}:8080`]);
  await answers("four");
  expect([await ask("six"), await ask("four")]).toEqual(["six", "four"]);
});

test("a second node in the cluster ends the registration of addresses that it cannot reach", async () => {
  await run("local", ["-p", "127.0.0.1:23130:8080"]);
  await run("node", ["-p", `${bridge}:23131:8080`]);
  await answers("local");
  const ports = ["http", "dns", "serf-lan", "server", "grpc"].map(
    (name, at) => `-${name}-port=${23_600 + at}`,
  );
  const agent = [
    "agent",
    "-node=ra-t-2",
    "-data-dir=/tmp/consul",
    "-bind=127.0.0.1",
    "-retry-join=127.0.0.1:23502",
  ];
  const own = ["--name", "ra-t-consul-2", "--network", "host", "-l", "SERVICE_IGNORE=true"];
  await docker("run", "-d", ...own, "--entrypoint", "consul", consulImage, ...agent, ...ports);
  try {
    await expect.poll(() => registered("local"), { timeout: 20_000 }).toEqual([]);
    expect(log).toContain(
      "container ra-t-local, port 8080: not registered: it is bound to 127.0.0.1:23130, which the load balancers " +
        `of other nodes cannot reach; bind it to ${bridge} or to all addresses\n`,
    );
    expect(await ask("node")).toBe("node");
    await docker("exec", "ra-t-consul-2", "consul", "leave", "-http-addr=127.0.0.1:23600");
    await expect.poll(() => registered("local"), { timeout: 20_000 }).toEqual(["127.0.0.1 23130"]);
  } finally {
    await removeContainers("ra-t-consul-2");
  }
});

/** Starts a container that publishes the port of another one in its network, which it does not serve itself. */
async function runPod(publish: string): Promise<void> {
  await docker(
    "run",
    "-d",
    "--init",
    "--name",
    "ra-t-owner",
    "-p",
    publish,
    "-e",
    "SERVICE_IGNORE=true",
    ...idle,
  );
  await run("member", ["--network", "container:ra-t-owner"], exposing);
  await answers("member");
}

test("a container leaves with the one whose network it shares", async () => {
  await runPod("23150:8080");
  const watched = watch("member", "thief");
  await docker("stop", "-t", "1", "ra-t-owner");
  await run("thief", ["-p", "23150:8080"]);
  await answers("thief");
  expect(await registered("member")).toEqual([]);
  await removeContainers("ra-t-thief");
  await docker("start", "ra-t-owner");
  await expect
    .poll(() => log)
    .toContain(
      "container ra-t-member: not registered: container ra-t-owner, whose network it shares, was started after it",
    );
  expect(await registered("member")).toEqual([]);
  await docker("restart", "-t", "1", "ra-t-member");
  await answers("member");
  expect(await ask("member")).toBe("member");
  expect(await watched.stop()).toEqual([]);
});

test("a container follows the ports of the one whose network it shares", async () => {
  await runPod("8080");
  const [before = ""] = await registered("member");
  const watched = watch("member", "thief");
  await docker("network", "disconnect", "bridge", "ra-t-owner");
  await run("thief", ["-p", `${before.split(" ")[1]}:8080`]);
  await answers("thief");
  expect(await registered("member")).toEqual([]);
  await docker("network", "connect", "bridge", "ra-t-owner");
  await answers("member");
  expect(await registered("member")).not.toEqual([before]);
  expect(await watched.stop()).toEqual([]);
});

test("a container on the host's network does not get the answers of one that has its port", async () => {
  const watched = watch("false", "real", "late");
  await run("false", ["--network", "host", "--expose", "23160", "-e", "PORT=23161"]);
  await run("real", ["-p", "23160:8080"]);
  await answers("real");
  expect(await registered("false")).toEqual([]);
  await expect
    .poll(() => log, { timeout: 20_000 })
    .toContain(
      "container ra-t-false, port 23160: not registered: it uses the host's network, where container ra-t-real publishes port " +
        "23160; EXPOSE the port that the program uses (--expose PORT), and set SERVICE_23160_IGNORE=true\n",
    );
  await removeContainers("ra-t-real");
  await expect
    .poll(() => log, { timeout: 20_000 })
    .toContain("where nothing listens on port 23160; EXPOSE the port");
  await run("late", ["--network", "host", "--expose", "23160", "-e", "PORT=23160"]);
  await answers("late");
  expect(await registered("false")).toEqual([]);
  expect(await watched.stop()).toEqual([]);
});

test("a container on the host's network keeps its port, and is registered where it listens", async () => {
  const host = ["--network", "host", "--expose", "23170"];
  await run("first", [...host, "-e", "PORT=23170"]);
  await run("ignoring", [
    ...["--network", "host", "--expose", "23170", "--expose", "23171", "-e", "PORT=23171"],
    ...["-e", "SERVICE_23170_IGNORE=true", "-e", "SERVICE_23171_NAME=ignoring"],
  ]);
  await answers("first");
  await answers("ignoring");
  const watched = watch("first", "second", "ignoring");
  await run("second", [...host, "-e", "PORT=23170", "--restart", "always"]);
  // The second ends each time; a third runs on without the port.
  await run("third", [...host, "-e", "PORT=23172"]);
  const isThatOfFirst =
    `its address, ${bridge}:23170, is that of first (container ra-t-first); if it does not listen there, ` +
    "set SERVICE_23170_IGNORE=true";
  interface Unrouted {
    readonly unrouted: readonly { readonly subject: string; readonly message: string }[];
  }
  const whyUnrouted = async (name: string) =>
    (await balancer.routes<Unrouted>()).unrouted.find(({ subject }) => subject === name)?.message;
  await expect.poll(() => whyUnrouted("third"), { timeout: 20_000 }).toBeDefined();
  expect(await whyUnrouted("third")).toContain('Container "ra-t-third" ');
  expect(await whyUnrouted("third")).toContain(isThatOfFirst);
  expect(log).toContain(`container ra-t-third: not registered as third: ${isThatOfFirst}\n`);
  await removeContainers("ra-t-third");
  const restarts = async () => Number(await docker("inspect", "-f", "{{.RestartCount}}", "ra-t-second"));
  await expect.poll(restarts, { timeout: 20_000 }).toBeGreaterThan(4);
  expect(await registered("second")).toEqual([]);
  expect([await ask("first"), await ask("ignoring")]).toEqual(["first", "ignoring"]);
  await removeContainers("ra-t-first");
  await answers("second");
  expect(await watched.stop()).toEqual([]);

  const local = "require('http').createServer((q,r)=>r.end('local')).listen(23175,'127.0.0.1')";
  const flags = [
    "--network",
    "host",
    "--expose",
    "23175",
    "-e",
    "SERVICE_NAME=local",
    "-e",
    "SERVICE_TAGS=rest",
  ];
  await docker(
    "run",
    "-d",
    "--init",
    "--name",
    "ra-t-local",
    ...flags,
    "--entrypoint",
    "node",
    image,
    "-e",
    local,
  );
  await answers("local");
  expect(await registered("local")).toEqual(["127.0.0.1 23175"]);
});

test("services of different containers that claim one address and port are a warning with both names", async () => {
  const claim = (name: string) => ({
    ID: `ra-t-else:${name}:8080`,
    Name: name,
    Address: "127.0.0.1",
    Port: 23_140,
  });
  await consul.put("agent/service/register", { ...claim("one"), Tags: ["rest"] });
  await consul.put("agent/service/register", { ...claim("two"), Tags: ["rest"] });
  const warning =
    "Services one (container one) and two (container two) claim the same address and port, 127.0.0.1:23140 on";
  interface Routes {
    readonly warnings: readonly { readonly subject: string; readonly message: string }[];
  }
  const warnings = async () => (await balancer.routes<Routes>()).warnings;
  await expect.poll(warnings, { timeout: 20_000 }).toMatchObject([{ subject: "one, two" }]);
  expect((await warnings())[0]?.message).toContain(warning);
  expect((await get(`${balancer.admin}/`)).body).toContain(warning);
  expect(await balancer.logs()).toContain(warning);
  // A service without a route would answer all the same.
  await consul.put("agent/service/register", { ...claim("two"), Tags: [] });
  await until(`${balancer.url}/two`, ({ status }) => status === 404);
  expect(await warnings()).toMatchObject([{ subject: "one, two" }]);
  await consul.put("agent/service/deregister/ra-t-else:one:8080", "");
  await expect.poll(warnings, { timeout: 20_000 }).toEqual([]);
  await consul.put("agent/service/deregister/ra-t-else:two:8080", "");
});
