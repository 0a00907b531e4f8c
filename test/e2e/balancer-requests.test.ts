import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
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

test("Consul's weights decide how many requests an instance gets, unless the option weight is set", async () => {
  const shares = async (name: string, given: readonly Readonly<Record<string, unknown>>[]) => {
    for (const [index, more] of given.entries()) {
      const instance = await Instance.start(String(index));
      instances.push(instance);
      await consul.register(name, instance.port, more);
    }
    const bodies = async () => {
      const found: string[] = [];
      for (let asked = 0; asked < 100; asked++) found.push((await get(`${balancer.url}/${name}`)).body);
      return given.map((_, index) => found.filter((body) => body === String(index)).length);
    };
    let counts = await bodies();
    for (let tries = 0; counts.includes(0) && tries < 50; tries++) counts = await bodies();
    return bodies();
  };
  const weights = (Passing: number) => ({ Weights: { Passing, Warning: 1 } });
  const [ten, ninety] = (await shares("weighted", [weights(10), weights(90)])) as [number, number];
  expect(Math.abs(ten - 10)).toBeLessThanOrEqual(1);
  expect(ten + ninety).toBe(100);
  const option = { Meta: { weight: "100" } };
  const equal = await shares("option", [
    { ...weights(10), ...option },
    { ...weights(90), ...option },
  ]);
  for (const count of equal) expect(Math.abs(count - 50)).toBeLessThanOrEqual(1);
});

describe("large headers", () => {
  const head = "GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  const fields = (count: number) => Array.from({ length: count }, (_, index) => `x-${index}: 1\r\n`).join("");
  const large = (bytes: number) => `x-large: ${"x".repeat(bytes)}\r\n`;
  const answered = async (more: string, to = head) => {
    const said = await raw(`${to}${more}\r\n`);
    return { status: Number(said.split(" ")[1]), body: said.slice(said.lastIndexOf("\r\n") + 2), said };
  };
  /** Asks over HTTP/2, without TLS. */
  const over2 = async (more: http2.OutgoingHttpHeaders) => {
    const client = http2.connect(balancer.url).on("error", () => undefined);
    const stream = client.request({ ":path": "/large", ...more });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    let body = "";
    for await (const chunk of stream) body += String(chunk);
    client.close();
    return { status: headers[":status"], body };
  };
  const tooLarge = { status: 431, body: expect.stringMatching(/^{"status":431,.*32768 bytes/) as string };
  const tooMany = {
    status: 431,
    body: expect.stringMatching(/^{"status":431,.*200 header fields/) as string,
  };

  beforeAll(async () => {
    await register("large", {}, ({ headers, url }, response) => {
      const [, bytes = "0", count = "0"] = /^\/(\d+)?,?(\d+)?$/.exec(url ?? "") ?? [];
      response.setHeader("x-large", "x".repeat(Number(bytes)));
      for (let index = 0; index < Number(count); index++) response.setHeader(`x-${index}`, "1");
      response.end(`${Object.keys(headers).length} ${JSON.stringify(headers).length}`);
    });
    await answers("/large");
  });

  test.each([
    ["32,000 bytes", large(32_000)],
    ["190 fields", fields(190)],
    ["32,000 bytes and a URL of 8,000", large(32_000), head.replace("/large", `/large?${"u".repeat(8_000)}`)],
  ])("%s reach the service", async (_, more, to = head) => {
    const { status, body } = await answered(more, to);
    expect(status).toBe(200);
    const [count = 0, bytes = 0] = body.split(" ").map(Number);
    expect(count >= 190 || bytes >= 32_000).toBe(true);
  });

  test.each([
    ["33,000 bytes", large(33_000), tooLarge],
    ["45,000 bytes in two fields", large(22_000) + large(23_000), tooLarge],
    ["201 fields", fields(200), tooMany],
    ["390 fields", fields(389), tooMany],
  ])("%s are too much, and the client is told", async (_, more, expected) => {
    expect(await answered(more)).toMatchObject(expected);
  });

  test("the limits are the same over HTTP/2", async () => {
    const list = Object.fromEntries(Array.from({ length: 210 }, (_, index) => [`x-${index}`, "1"]));
    expect(await over2({ "x-large": "x".repeat(32_000) })).toMatchObject({ status: 200 });
    expect(await over2({ "x-large": "x".repeat(33_000) })).toMatchObject(tooLarge);
    expect(await over2(list)).toMatchObject(tooMany);
    // Browsers send each cookie in a field of its own.
    expect(await over2({ cookie: Array.from({ length: 210 }, (_, index) => `c${index}=1`) })).toMatchObject({
      status: 200,
    });
  });

  test("the log shows the request", async () => {
    await answered(large(33_000), head.replace("/large", "/large/logged"));
    await expect.poll(() => balancer.logs()).toContain("GET /large/logged HTTP/1.1");
    expect(await balancer.logs()).not.toContain("BADREQ");
  });

  test.each([
    ["over 1.5 times the bytes", large(50_000), { "x-large": "x".repeat(50_000) }],
    [
      "over twice the fields",
      fields(401),
      Object.fromEntries(Array.from({ length: 401 }, (_, index) => [`x-${index}`, "1"])),
    ],
  ])("HAProxy itself rejects %s, without a reason", async (_, over1, list) => {
    const { status, said } = await answered(over1);
    expect(status).toBe(400);
    expect(said).toMatch(/^content-type: text\/html$/im);
    await expect(over2(list)).rejects.toMatchObject({ code: expect.stringContaining("ERR_HTTP2") as string });
  });

  test.each([
    ["32000", 200],
    ["0,190", 200],
    ["60000", 502],
    ["0,500", 502],
  ])("a response with headers of %s (bytes, fields): %d", async (path, expected) => {
    const { status, said } = await answered("", head.replace("/large", `/large/${path}`));
    expect(status).toBe(expected);
    if (expected === 502) expect(said).toMatch(/{"status":502,.*too many or too large headers/);
  });

  test("the limits are settings", async () => {
    await consul.put("kv/service/haproxy/headers/fields", "300");
    await consul.put("kv/service/haproxy/headers/bytes", "60000");
    const status = async (more: string) => (await answered(more)).status;
    await expect.poll(() => status(fields(250)), { timeout: 20_000 }).toBe(200);
    await expect.poll(() => status(large(59_000)), { timeout: 20_000 }).toBe(200);
    expect(await status(fields(301))).toBe(431);
    expect(await status(large(61_000))).toBe(431);
    await consul.put("kv/service/haproxy/headers/bytes", "1");
    const subjects = async () =>
      (await balancer.routes<{ warnings: { subject: string }[] }>()).warnings.map(({ subject }) => subject);
    await expect.poll(subjects).toContain("service/haproxy/headers/bytes");
    expect(await status(large(59_000))).toBe(200);
  });
});

test("a request that waits to be tried again is not answered by a service that came meanwhile", async () => {
  const leaver = await register("leaver");
  await answers("/leaver");
  leaver.stop();
  const waiting = get(`${balancer.url}/leaver`);
  await consul.deregister("leaver", leaver.port);
  await until(`${balancer.url}/leaver`, ({ status }) => status === 404);
  // Nothing but the request is left of the service after that.
  const leaving = async () => (await balancer.routes<{ leaving: unknown[] }>()).leaving;
  await expect
    .poll(leaving, { timeout: 400 })
    .toEqual([])
    .catch(() => undefined);
  await register("successor");
  await answers("/successor");
  expect((await waiting).status).toBe(503);
});
