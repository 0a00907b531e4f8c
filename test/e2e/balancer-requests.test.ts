import * as http from "node:http";
import { connect } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until } from "./http";

// Requests and registrations that other systems are known to stumble over.

const port = 26_100;
const instances: Instance[] = [];
let consul: ConsulAlone;
let balancer: Balancer;

async function register(
  name: string,
  more: Readonly<Record<string, unknown>> = {},
  answer?: http.RequestListener,
): Promise<Instance> {
  const instance = await Instance.start(name, answer);
  instances.push(instance);
  await consul.register(name, instance.port, more);
  return instance;
}

/** Answers with its name and what it is asked for. */
const echo =
  (name: string): http.RequestListener =>
  (request, response) =>
    response.end(`${name} sees ${request.url ?? ""}`);

/** Sends bytes as they are and returns the whole answer. */
const raw = (text: string) =>
  new Promise<string>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let said = "";
    socket.on("data", (chunk: Buffer) => (said += chunk.toString()));
    socket.on("close", () => {
      resolve(said);
    });
    socket.on("error", () => undefined);
  });

const answers = (path: string) => until(balancer.url + path, ({ status }) => status === 200);

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "rq-t-requests", port: 26_110 });
  balancer = await Balancer.start({ name: "rq-t-requests", port, consul: consul.address });
});
afterAll(async () => {
  for (const instance of instances) instance.stop();
  await balancer.stop();
  await consul.stop();
});

test("a sidecar or gateway of Consul's service mesh gets no URL and takes none", async () => {
  await register("mesh", { Kind: "mesh-gateway", Meta: { path: "/web" } });
  await register("web", { Meta: { path: "/web" }, Connect: { SidecarService: {} } });
  for (const name of ["mesh", "web-sidecar-proxy"])
    await until(`http://${consul.address}/v1/catalog/service/${name}`, ({ body }) => body.includes(name));
  await register("after");
  await answers("/after");
  expect(await answers("/web")).toMatchObject({ status: 200, body: "web" });
  expect((await get(`${balancer.url}/web-sidecar-proxy`)).status).toBe(404);
  expect(JSON.stringify(await balancer.routes())).not.toMatch(/mesh|sidecar/);
});

describe("a path parameter belongs to its segment", () => {
  beforeAll(async () => {
    for (const name of ["hello/v1", "hello/v2", "time"]) await register(name, {}, echo(name));
    await register("whole", { Meta: { strip_prefix: "false" } }, echo("whole"));
    for (const name of ["hello/v1", "hello/v2", "time", "whole"]) await answers(`/${name}`);
  });
  const ask = async (path: string) => {
    const said = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    return said.includes(" 200 OK") ? said.split("\r\n\r\n")[1] : Number(said.split(" ")[1]);
  };

  test.each([
    ["/time;x=1", "time sees /;x=1"],
    ["/time;x=1?y=;z", "time sees /;x=1?y=;z"],
    ["/time;", "time sees /;"],
    ["/time/;x=1", "time sees /;x=1"],
    ["/time//;x=1", "time sees //;x=1"],
    ["/time/a;x=1/b;y=2", "time sees /a;x=1/b;y=2"],
    ["/time;x=1/a;y=2", "time sees /;x=1/a;y=2"],
    ["/hello/v1;jsessionid=1", "hello/v1 sees /;jsessionid=1"],
    ["/hello;a=1/v1;b=2/x;c=3", "hello/v1 sees /x;c=3"],
    ["/hello;a=1/v1;b=2", "hello/v1 sees /;b=2"],
    ["/hello;a=1", "hello/v2 sees /;a=1"],
    ["/hello;v1/x", "hello/v2 sees /;v1/x"],
    ["/whole;x=1/a;y=2", "whole sees /whole;x=1/a;y=2"],
    ["/hello/v3;x=1", 404],
    ["/hello/%761;x=1", 404],
    ["/hello/v1%3Bx=1", 404],
    ["/time%3Bx=1", 404],
    ["/;x=1/time", 404],
  ])("%s: %s", async (path, answer) => {
    expect(await ask(path)).toBe(answer);
    const explained = await get(`${balancer.admin}/explain?url=${encodeURIComponent(path)}&json`);
    const { targets, route } = JSON.parse(explained.body) as {
      targets: { service: string }[];
      route?: { seen: string };
    };
    const service = targets[0]?.service;
    const seen = service === undefined ? 404 : `${service} sees ${route?.seen ?? ""}`;
    expect(seen).toBe(typeof answer === "string" ? answer.replace(/\?.*/, "") : answer);
  });
});

describe("headers about an instance's own connection", () => {
  const own = { "Keep-Alive": "timeout=75", "Proxy-Connection": "keep-alive", Upgrade: "websocket" };
  const answerWith =
    (status: number): http.RequestListener =>
    (_, response) => {
      response.writeHead(status, { ...own, Connection: "keep-alive, upgrade, x-own" });
      response.end();
    };

  test("do not reach the client, whose connection stays open", async () => {
    await register("own", {}, answerWith(200));
    await answers("/own");
    const request = "GET /own HTTP/1.1\r\nHost: localhost\r\n";
    const said = await raw(`${request}\r\n${request}Connection: close\r\n\r\n`);
    expect(said.match(/^HTTP\/1.1 200/gm)).toHaveLength(2);
    expect(said).not.toMatch(/^(keep-alive|proxy-connection|upgrade|connection: (?!close))/im);
  });

  test("a demand to upgrade does", async () => {
    await register("demand", {}, answerWith(426));
    const { headers } = await until(`${balancer.url}/demand`, ({ status }) => status === 426);
    expect(headers).toMatchObject({
      upgrade: "websocket",
      connection: expect.stringMatching(/upgrade/i) as string,
    });
    expect(headers).not.toHaveProperty("keep-alive");
  });
});
