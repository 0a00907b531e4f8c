import { readFileSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { baseImage, consulImage } from "./bases";
import { makeCertificate } from "./certificates";
import { callConsul } from "./consul-rpc";
import {
  bridgeAddress,
  claimEngineUntilRemoved,
  docker,
  hostAddress,
  lines,
  publishedPorts,
  tasks,
} from "./docker";
import { get, startLoad, until } from "./http";
import { intrusions } from "./intruder";
import { outputOf, run, stack, succeeded, type ServiceEntry } from "./stack";
import { afterwards, tearDown } from "./tear-down";
import { elsewhere, here, makeWorld, openPorts } from "./world";

// Access control in Consul, from the first up to its loss and its rotation, in order.

const services: ServiceEntry[] = ["shop/v1", "shop/v2", "time"].map((name) => ({
  name,
  // A range, so that there is an autoscaler.
  replicas: { min: 1, max: 2, target: 1000 },
  build: "hello",
  port: 8080,
  env: { NAME: name },
  // Patient, so that a busy machine does not make Swarm replace an instance.
  healthCheck: { command: ["bash", "/app/healthcheck.sh"], intervalSeconds: 2, timeoutSeconds: 60 },
  ...(name === "shop/v2" && { networks: ["back"] }),
}));
const url = "http://localhost/shop/v1";
const configure = (generation: number): void => {
  stack.configure(services, { consulTokenGeneration: generation, adminCidrs: [`${elsewhere}/32`] });
};
/** The ports that other programs of this machine listen on. */
let othersPorts: Set<number>;

beforeAll(async () => {
  await claimEngineUntilRemoved(() => stack.remove());
  othersPorts = new Set(await listeningPorts());
  if (process.getuid?.() === 0) await makeWorld();
  configure(1);
  succeeded(await stack.up());
});

afterAll(tearDown);

const listeningPorts = async (): Promise<number[]> =>
  lines(await outputOf("ss", "-Hltn")).map((line) => Number(/:(\d+)\s/.exec(line)?.[1]));

/** Runs a script in Consul's container with a token from one of its files. */
const inConsul = (token: string, script: string): Promise<string> =>
  docker("exec", "-e", `CONSUL_HTTP_TOKEN_FILE=/secrets/${token}`, "consul", "sh", "-c", script);
const imageOf = async (service: string): Promise<string> =>
  docker("inspect", "-f", "{{.Config.Image}}", (await tasks(service))[0] ?? "");
const secret = (name: string): Promise<string> => docker("exec", "consul", "cat", `/secrets/${name}`);

/** The status and text of Consul's answer to a container on Docker's bridge that has no token. */
async function asStranger(method: string, path: string, body = ""): Promise<string> {
  const script = `
    exec 3<>/dev/tcp/${bridgeAddress}/8500
    printf '%s /v1/%s HTTP/1.0\\r\\nContent-Length: %s\\r\\n\\r\\n%s' "$0" "$1" "\${#2}" "$2" >&3
    cat <&3`;
  const args = ["run", "--rm", "--entrypoint", "bash", baseImage, "-c", script, method, path, body];
  const answer = await docker(...args);
  return `${/ (\d+) /.exec(answer)?.[1] ?? ""} ${answer.split("\r\n\r\n")[1]?.trim() ?? ""}`;
}

describe("a container without a token", () => {
  test("sees no key in a list", async () => {
    await docker("exec", "consul", "consul", "kv", "put", "service/haproxy/maxconn", "5000");
    expect(await asStranger("GET", "kv/?recurse")).toMatch(/^404 /);
    expect(await docker("exec", "consul", "consul", "kv", "get", "service/haproxy/maxconn")).toBe("5000");
    await docker("exec", "consul", "consul", "kv", "delete", "service/haproxy/maxconn");
  });
});

/** A file of Consul's certificates. */
const pem = (name: string): Promise<string> => secret(`tls/${name}.pem`);

describe("Consul's RPC", () => {
  test("is refused without TLS, without a certificate, and with one of another authority", async () => {
    const ca = await pem("authorities");
    const { pem: cert, key } = makeCertificate("server.dc1.consul");
    expect(await callConsul(bridgeAddress)).toBe("refused");
    expect(await callConsul(bridgeAddress, { ca })).toBe("refused");
    expect(await callConsul(bridgeAddress, { ca, cert, key })).toBe("refused");
  });

  test("answers an agent, which can verify it", async () => {
    const [ca, cert, key] = await Promise.all([pem("authorities"), pem("certificate"), pem("key")]);
    expect(await callConsul(bridgeAddress, { ca, cert, key })).toBe("answered");
    const { pem: other } = makeCertificate("server.dc1.consul");
    expect(await callConsul(bridgeAddress, { ca: other, cert, key })).toBe("refused");
  });
});

test("Consul has no port for Envoy", async () => {
  const ports = await listeningPorts();
  expect(ports.filter((port) => !othersPorts.has(port))).not.toContain(8503);
});

describe("a hostile container", () => {
  intrusions(() => hostAddress);
});

// Only root can make the world.
describe.skipIf(process.getuid?.() !== 0)("the world", () => {
  /** The ports by hand: with IPv4, and with IPv6. */
  let byHand: number[];
  beforeAll(async () => {
    const id = await docker("run", "-d", "-P", "-e", "SERVICE_IGNORE=true", await imageOf("time"));
    afterwards(() => docker("rm", "-f", id));
    byHand = await publishedPorts(id);
    await until(`http://localhost:${byHand[0] ?? 0}`, ({ status }) => status === 200);
  });

  test("reaches the load balancer and what somebody published by hand, and no other port", async () => {
    const open = await openPorts(here.ipv4, [1, 65_535]);
    expect(open.filter((port) => !othersPorts.has(port))).toEqual([80, byHand[0]]);
  });

  test("reaches no more of the node by IPv6, nor by the addresses of its bridges", async () => {
    const [instance = ""] = await tasks("time");
    const own = [80, 1936, 2377, 7946, 8300, 8301, 8302, 8404, 8500];
    const ports = [...new Set([...own, ...(await publishedPorts(instance)), ...byHand])];
    const openAt = async (address: string) =>
      (await Promise.all(ports.map((port) => openPorts(address, [port, port])))).flat();
    expect(await openAt(here.ipv6)).toEqual([80, byHand.at(-1)]);
    expect(await openAt(bridgeAddress)).toEqual([byHand[0]]);
    const address = await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", instance);
    expect(await openPorts(address, [8080, 8080])).toEqual([]);
    const format = "{{range .Containers}}{{println .IPv4Address}}{{end}}";
    const inNetworks = lines(await docker("network", "inspect", "-f", format, "docker_gwbridge"));
    expect(inNetworks).not.toEqual([]);
    for (const each of inNetworks)
      expect(await openPorts(each.replace(/\/.*/, ""), [8080, 8080]), each).toEqual([]);
  });

  test("reaches the statistics page from an administrator's network", async () => {
    expect(await openPorts(here.ipv4, [1936, 1936], elsewhere)).toEqual([1936]);
    expect(await openPorts(here.ipv4, [8300, 8302], elsewhere)).toEqual([]);
  });

  test("stays out when somebody flushes the rules", async () => {
    await docker("exec", "firewall", "node", "/app/main.js", "clear");
    await expect.poll(() => docker("logs", "firewall")).toContain("putting them back");
    await expect.poll(() => openPorts(here.ipv4, [1936, 1936])).toEqual([]);
  });
});

test("no secret is in a definition, a log, the arguments of a process, a preview, an output or a file that others can read", async () => {
  const { output } = succeeded(await stack.outputs("--json", "--show-secrets"));
  const outputs = JSON.parse(output.slice(output.indexOf("{"))) as Record<string, string>;
  expect(outputs["consulToken"]).toBe(await secret("operator"));
  const [containers, volumes, networks, services] = await Promise.all([
    docker("ps", "-aq"),
    docker("volume", "ls", "-q"),
    docker("network", "ls", "-q"),
    docker("service", "ls", "-q"),
  ]);
  // A change of everything that a preview shows in detail.
  configure(2);
  const preview = succeeded(await stack.preview()).output;
  configure(1);
  const state = [".switchyard/state/e2e.json", ".switchyard/pulumi/.pulumi/stacks/switchyard/e2e.json"];
  const readable = (await run("find", [".switchyard", "-type", "f", "-perm", "/044"])).output;
  const shown = [
    await docker("inspect", ...[containers, volumes, networks, services].flatMap(lines)),
    ...(await Promise.all(lines(containers).map((id) => docker("logs", id)))),
    (await stack.outputs("--json")).output,
    preview,
    (await run("ps", ["axww", "-o", "args"])).output,
    (await run("cat", [...state, ...lines(readable)])).output,
  ].join("\n");
  const files = "/secrets/tokens/*.json /secrets/management.json /secrets/agent.json";
  const kept = await docker("exec", "consul", "sh", "-c", `cat ${files}`);
  const tokens = [...kept.matchAll(/"(?:SecretID|encrypt)":"([^"]+)"/g)].map(([, found = ""]) => found);
  // Of management, the operator, Registrator, the load balancer, the autoscaler and the agent, and the key of the gossip.
  expect(new Set(tokens).size).toBe(7);
  const secrets = [
    ...tokens,
    outputs["statsPassword"] ?? "",
    readFileSync(".switchyard/passphrase", "utf8").trim(),
  ];
  expect(secrets.every((each) => each.length >= 12)).toBe(true);
  expect(secrets.filter((each) => shown.includes(each))).toEqual([]);
  const key = lines(await pem("key")).filter((line) => !line.startsWith("-----"));
  expect(key).not.toEqual([]);
  expect(key.filter((line) => shown.includes(line))).toEqual([]);
  for (const [container = "", ...own] of [
    ["consul", "management", "tls/key.pem"],
    ["registrator", "token"],
    ["rest", "token", "stats-password"],
  ])
    for (const file of own)
      expect(await docker("exec", container, "stat", "-c", "%a", `/secrets/${file}`)).toBe("600");
});

test("a stack without access control and TLS gets both without a failed request", async () => {
  // As after the first half of the update: everything is allowed, and services are registered without a token.
  await docker("exec", "consul", "rm", "/data/deny", "/data/tls.json");
  await docker("restart", "consul");
  await until("http://localhost:8500/v1/status/leader", ({ body }) => body.length > 4);
  await expect.poll(() => asStranger("PUT", "kv/a", "1"), { timeout: 20_000 }).toBe("200 true");
  expect(await callConsul(bridgeAddress)).toBe("answered");
  const load = startLoad(url, { perSecond: 100 });
  succeeded(await stack.up());
  expect(await asStranger("PUT", "kv/a", "1")).toMatch(/^403 /);
  expect(await callConsul(bridgeAddress)).toBe("refused");
  expect((await load.stop()).failures).toEqual({});
});

test("a token without its rights changes no route and no registration, and the next up gives them back", async () => {
  const load = startLoad(url, { perSecond: 100 });
  const allowed = { "load-balancer": "", registrator: "" };
  for (const role of Object.keys(allowed))
    await inConsul("management", `consul acl policy update -name switchyard-${role} -rules ''`);
  // Wake its queries: they get empty answers now.
  await docker("exec", "consul", "consul", "kv", "put", "service/haproxy/versions/none", "v1");
  await docker("exec", "consul", "consul", "kv", "delete", "service/haproxy/versions/none");
  await expect.poll(() => docker("logs", "rest"), { timeout: 30_000 }).toMatch(/Consul: .*key:read/);
  const page = await docker("exec", "rest", "bash", "-c", askRoutes);
  expect(page).toContain("shop/v2");
  succeeded(await stack.up());
  await inConsul("operator", "switchyard-acl check");
  expect((await load.stop()).failures).toEqual({});
});
const askRoutes = `exec 3<>/dev/tcp/127.0.0.1/8404 && printf 'GET /routes HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;

test("rotating the tokens fails no request, replaces no container, and leaves no earlier token", async () => {
  const roles = ["management", "operator", "registrator", "load-balancer", "autoscaler"];
  const before = await Promise.all(roles.map(secret));
  const containers = await docker("ps", "-q", "--filter", "name=^(autoscaler|consul|registrator|rest)$");
  const load = startLoad(url, { perSecond: 100 });
  configure(2);
  succeeded(await stack.up());
  const after = await Promise.all(roles.map(secret));
  expect(before.filter((token) => after.includes(token))).toEqual([]);
  expect(await docker("ps", "-q", "--filter", "name=^(autoscaler|consul|registrator|rest)$")).toBe(
    containers,
  );
  const list = await inConsul("management", "consul acl token list");
  // Six of ours, and the anonymous one.
  expect(lines(list).filter((line) => line.startsWith("AccessorID"))).toHaveLength(7);

  // The autoscaler, Registrator and the load balancer work with their new ones.
  await expect
    .poll(async () => (await get("http://localhost:8405/status")).body)
    .toMatch(/"isLeading": true/);
  const image = await imageOf("time");
  const id = await docker("run", "-d", "-P", "-e", "SERVICE_NAME=late", "-e", "SERVICE_TAGS=rest", image);
  try {
    expect((await until("http://localhost/late", ({ status }) => status === 200)).status).toBe(200);
  } finally {
    await docker("rm", "-f", id);
  }
  expect((await until("http://localhost/late", ({ status }) => status === 404)).status).toBe(404);
  expect((await load.stop()).failures).toEqual({});
  succeeded(await stack.up("--expect-no-changes"));
});

test("an agent whose key is broken says so, and works again once it is whole", async () => {
  const key = await pem("key");
  const write = (content: string) =>
    docker("run", "--rm", "-v", "consul-secrets:/secrets", "--entrypoint", "sh", consulImage, "-c", 'printf "%s" "$0" >/secrets/tls/key.pem', content); // prettier-ignore
  const load = startLoad(url, { perSecond: 100 });
  await write("broken");
  for (const command of ["require", "reload"])
    await expect(docker("exec", "consul", "switchyard-tls", command)).rejects.toThrow(
      "failed to find any PEM",
    );
  await docker("restart", "consul");
  await expect.poll(() => docker("logs", "--tail", "5", "consul")).toMatch(/load cert\/key pair/);
  await write(`${key}\n`);
  await docker("restart", "consul");
  const health = () => docker("inspect", "-f", "{{.State.Health.Status}}", "consul");
  await expect.poll(health, { timeout: 30_000 }).toBe("healthy");
  expect(await callConsul(bridgeAddress)).toBe("refused");
  expect((await load.stop()).failures).toEqual({});
});
