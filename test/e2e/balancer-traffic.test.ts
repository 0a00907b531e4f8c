import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import * as http2 from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { makeCertificate } from "./certificates";
import { get, startLoad, until, type Answer } from "./http";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";
import { WebSocketClient, WebSocketService } from "./websocket";

// Requests: version headers, trusted peers, service options, gRPC.

const port = 26_030;
const httpsPort = 26_035;
const certs = scratch();
let consul: ConsulAlone;
let balancer: Balancer;
let grpc: http2.Http2Server;

interface Service {
  readonly name: string;
  readonly meta?: Readonly<Record<string, string>>;
  /** How its instances answer. */
  readonly answers: readonly Parameters<typeof Instance.start>[1][];
}

async function register({ name, meta = {}, answers }: Service): Promise<void> {
  for (const [index, answer] of answers.entries()) {
    const instance = await Instance.start(`${name} ${index}`, answer);
    await consul.register(name, instance.port, { Meta: meta });
  }
}

const named = undefined;
const headers: Parameters<typeof Instance.start>[1] = (request, response) => {
  response.end(JSON.stringify({ url: request.url, ...request.headers }));
};

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "tr-t-traffic", port: 26_020 });
  let busy = 0;
  await register({ name: "hello/v1", answers: [named] });
  await register({ name: "hello/v2", answers: [named] });
  await register({ name: "headers", answers: [headers] });
  await register({ name: "sticky", meta: { sticky: "true" }, answers: [named, named, named] });
  await register({ name: "sticky/too", meta: { sticky: "true" }, answers: [named, named, named] });
  for (const name of ["shared/v1", "shared/v2"])
    await register({ name, meta: { sticky: "true" }, answers: [named] });
  await consul.put("kv/service/haproxy/versions/shared", "v1=50,v2=50");
  await register({ name: "by-uri", meta: { balance: "uri" }, answers: [named, named, named] });
  await register({
    name: "slow",
    meta: { timeout_server: "300ms" },
    answers: [(request, response) => request.method === "HEAD" && response.end()],
  });
  await register({ name: "hosted", meta: { host: "shop.test", path: "/" }, answers: [named] });
  await register({ name: "whole", meta: { strip_prefix: "false" }, answers: [headers] });
  await register({
    name: "one",
    meta: { maxconn: "1" },
    answers: [
      (request, response) => {
        if (request.method === "HEAD") return response.end();
        const most = ++busy;
        return setTimeout(() => {
          busy--;
          response.end(String(most));
        }, 100);
      },
    ],
  });
  grpc = http2.createServer();
  afterwards(() => grpc.close());
  grpc.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => {
      stream.sendTrailers({ "grpc-status": "0" });
    });
    stream.on("data", (chunk: Buffer) => stream.write(chunk));
    stream.on("end", () => stream.end());
    stream.on("error", () => undefined);
  });
  grpc.listen(0, "127.0.0.1");
  await once(grpc, "listening");
  await consul.register("shop.Greeter", (grpc.address() as AddressInfo).port, {
    Meta: { proto: "h2c", strip_prefix: "false" },
  });
  chmodSync(certs.path, 0o755);
  const certificate = makeCertificate("localhost");
  writeFileSync(join(certs.path, "default.pem"), certificate.pem + certificate.key, { mode: 0o644 });
  balancer = await Balancer.start({
    name: "tr-t-traffic",
    port,
    consul: consul.address,
    args: ["--trust-forwarded=127.0.0.2,10.0.0.0/8", "--certs=/certs", `--https-port=${httpsPort}`],
    docker: ["-v", `${certs.path}:/certs:ro`],
  });
  const asked = ["headers", "sticky", "sticky/too", "by-uri", "one", "whole"];
  for (const name of ["hello/v1", "hello/v2", "shared/v1", "shared/v2", ...asked])
    await until(`${balancer.url}/${name}`, ({ status }) => status === 200);
});
afterAll(tearDown);

const ask = (
  path: string,
  given: Record<string, string | string[]> = {},
  more: { localAddress?: string } = {},
) => get(balancer.url + path, { headers: given, ...more });
const seen = async (...args: Parameters<typeof ask>) =>
  JSON.parse((await ask(...args)).body) as Record<string, string>;

describe("X-Version", () => {
  test.each([
    ["/hello", "v1", "hello/v1 0"],
    ["/hello/x/y", "v1", "hello/v1 0"],
    ["/hello", "v2", "hello/v2 0"],
    ["/hello/v2", "v1", "hello/v2 0"],
    ["/headers", "v1", expect.stringContaining('"x-version":"v1"')],
  ])("%s with %s", async (path, version, body) => {
    expect(await ask(path, { "X-Version": version })).toMatchObject({ status: 200, body: body as string });
  });

  test.each(["v3", "v11", "1", "v1/", "v1/../v2", "", "*"])(
    "%j is not a version of hello",
    async (version) => {
      expect((await ask("/hello", { "X-Version": version })).status).toBe(404);
    },
  );
});

describe("X-Forwarded-* and X-Request-ID", () => {
  const said = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.test",
    "X-Forwarded-Prefix": "/outer",
    "X-Request-ID": "abc-1",
  };

  test("a trusted peer's headers are kept and ours are added", async () => {
    expect(await seen("/headers/x", said, { localAddress: "127.0.0.2" })).toMatchObject({
      url: "/x",
      "x-forwarded-for": "192.0.2.7, 127.0.0.2",
      "x-forwarded-proto": "https",
      "x-forwarded-host": "shop.test",
      "x-forwarded-prefix": "/outer/headers",
      "x-request-id": "abc-1",
    });
    expect(await balancer.logs()).toContain(" abc-1 ");
  });

  test("the headers of untrusted peers are replaced", async () => {
    const found = await seen("/headers/x", said);
    expect(found).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `127.0.0.1:${port}`,
      "x-forwarded-prefix": "/headers",
    });
    expect(found["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    ["could not be one", "a b"],
    ["is two", ["abc-2", 'e "GET /forged HTTP/1.1"']],
  ])("a request id that %s is replaced", async (_, id) => {
    const found = await seen("/headers", { "X-Request-ID": id }, { localAddress: "127.0.0.2" });
    expect(found["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(await balancer.logs()).not.toContain("/forged");
  });

  test("our headers win over other spellings and over Connection", async () => {
    const found = await seen("/headers", {
      X_Forwarded_For: "192.0.2.7",
      "X-Forwarded_For": "192.0.2.7",
      "X.Forwarded.For": "192.0.2.7",
      "X-Forwarded": "192.0.2.7",
      "X_Forwarded-Proto": "https",
      "X_Real-IP": "192.0.2.7",
      "X-Request_ID": "abc-3",
      Connection: "close, X-Forwarded-For, X-Forwarded-Proto",
    });
    expect(Object.keys(found).filter((name) => /[_.]|forwarded$/.test(name))).toEqual([]);
    expect(found["connection"] ?? "").not.toMatch(/x-forwarded/i);
    expect(found).toMatchObject({ "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http" });
  });

  test("other spellings are dropped even from a trusted peer", async () => {
    const said = {
      "X-Forwarded_For": "192.0.2.7",
      "X~Forwarded-For": "192.0.2.7",
      X_Request_ID: "abc-4",
      "X-Request+ID": "abc-4",
      "X-Real-IP": "192.0.2.7",
    };
    const found = await seen("/headers", said, { localAddress: "127.0.0.2" });
    expect(JSON.stringify(found)).not.toMatch(/192\.0\.2\.7|abc-4/);
  });

  test("Upgrade is ignored unless Connection names it", async () => {
    expect(await seen("/headers", { Upgrade: "websocket" })).not.toHaveProperty("upgrade");
  });

  test("no connection is upgraded to HTTP/2 past the load balancer", async () => {
    const found = await seen("/headers", {
      Connection: "Upgrade, HTTP2-Settings",
      Upgrade: "h2c",
      "HTTP2-Settings": "AAMAAABkAAQAAP__",
    });
    expect(Object.keys(found)).not.toContain("upgrade");
    expect(Object.keys(found)).not.toContain("http2-settings");
  });

  test("hop-by-hop headers are not forwarded", async () => {
    const own = { "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive", Proxy: "http://192.0.2.7" };
    for (const localAddress of ["127.0.0.1", "127.0.0.2"])
      expect(JSON.stringify(await seen("/headers", own, { localAddress }))).not.toMatch(/keep-alive|proxy/i);
  });

  test("an IPv6 client is identified by its address", async () => {
    const { body } = await get(`http://[::1]:${port}/headers`);
    expect(JSON.parse(body)).toMatchObject({ "x-forwarded-for": "::1" });
  });
});

describe("paths", () => {
  /** Sends the path unchanged: a URL would normalise it. */
  const raw = (path: string, more: Record<string, string> = {}) =>
    new Promise<string>((resolve) => {
      const head = Object.entries({ Host: "localhost", Connection: "close", ...more });
      const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      const socket = connect(port, "127.0.0.1", () => socket.write(`GET ${path} HTTP/1.1\r\n${lines}\r\n`));
      let said = "";
      socket.on("data", (chunk: Buffer) => (said += chunk.toString()));
      socket.on("close", () => {
        resolve(said);
      });
    });
  const status = async (...asked: Parameters<typeof raw>) => Number((await raw(...asked)).split(" ")[1]);

  test.each([
    ["/headers", "/"],
    ["/headers/", "/"],
    ["/headers//x", "//x"],
    ["/headers/a%2Fb?c=/d", "/a%2Fb?c=/d"],
    ["/headers?x=1", "/?x=1"],
    ["http://localhost/headers/x", "http://localhost/x"],
  ])("%s is seen as %s", async (path, url) => {
    expect(await raw(path)).toContain(`"url":${JSON.stringify(url)}`);
  });

  test.each([
    "/Headers",
    "/headersx",
    "/headers%2Fx",
    "//headers",
    "/./headers",
    "/hello/v3",
    "/hello/v11/x",
    "/hello/%76%33",
    "/hello/v%31",
  ])("%s is nobody's", async (path) => {
    expect(await status(path)).toBe(404);
  });

  test.each([
    ["a trailing dot in the host makes no difference", { Host: "shop.test." }, 200],
    ["a host that is a pattern or a path is none", { Host: "*" }, 400],
    ["a host that is a pattern or a path is none", { Host: "shop.test/hello" }, 400],
    ["a host that is longer than any name is none", { Host: "x".repeat(261) }, 400],
    ["a host may be as long as a name can be", { Host: `${"x".repeat(253)}:65535` }, 404],
  ])("%s: %j", async (_, headers, expected) => {
    expect(await status("/", headers)).toBe(expected);
  });

  test("a request rejected for its Host gets the reason as JSON", async () => {
    expect(await raw("/", { Host: "*" })).toContain('{"status":400,"error":"This request names no host');
  });
});

test("a service that already listens is added without a 503", async () => {
  const instance = await Instance.start("new");
  const refused: string[] = [];
  for (const name of Array.from({ length: 10 }, (_, index) => `new-${index}`)) {
    let there = false;
    const asked = (async () => {
      while (!there) {
        const { status } = await get(`${balancer.url}/${name}`);
        if (status === 503) refused.push(name);
        there = status === 200;
      }
    })();
    await Promise.all([asked, consul.register(name, instance.port)]);
    await consul.deregister(name, instance.port);
  }
  // On a busy machine its answer may come too late for the change that adds it.
  expect(new Set(refused).size).toBeLessThan(5);
});

test("a request that loops back to the load balancer ends", async () => {
  await consul.register("loop", port, { Meta: { strip_prefix: "false" } });
  expect((await until(`${balancer.url}/loop`, ({ status }) => status === 508)).status).toBe(508);
  await consul.deregister("loop", port);
});

describe("service options", () => {
  test("sticky keeps a client on its instance", async () => {
    const first = await ask("/sticky");
    const cookie = first.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    expect(cookie).toMatch(/^SWITCHYARD=[0-9a-f]{12}$/);
    const bodies = await Promise.all(Array.from({ length: 9 }, () => ask("/sticky", { Cookie: cookie })));
    expect(new Set(bodies.map(({ body }) => body))).toEqual(new Set([first.body]));
    const without = await Promise.all(Array.from({ length: 9 }, () => ask("/sticky")));
    expect(new Set(without.map(({ body }) => body)).size).toBe(3);
  });

  test("sticky keeps a client on its version when several versions share the traffic", async () => {
    const cookiesOf = ({ headers }: Answer) =>
      (headers["set-cookie"] ?? []).map((cookie) => cookie.split(";")[0]).join("; ");
    const clients = await Promise.all(Array.from({ length: 20 }, () => ask("/shared")));
    expect(new Set(clients.map(({ body }) => body))).toEqual(new Set(["shared/v1 0", "shared/v2 0"]));
    for (const client of clients) {
      expect(client.headers["set-cookie"]?.[1]).toMatch(
        /^SWITCHYARD_SLOT=\d+; path=\/shared; HttpOnly; SameSite=Lax$/,
      );
      const again = await ask("/shared", { Cookie: cookiesOf(client) });
      expect(again.body).toBe(client.body);
      expect(again.headers["set-cookie"]).toBeUndefined();
    }
    for (const version of ["v1", "v2"]) {
      const { body } = await ask("/shared", { Cookie: "SWITCHYARD_SLOT=0", "X-Version": version });
      expect(body).toBe(`shared/${version} 0`);
    }
  });

  test.each(["100", "-1", "07", "1x", "", "%"])("an invalid slot %j is drawn again", async (slot) => {
    const { status, headers } = await ask("/shared", { Cookie: `SWITCHYARD_SLOT=${slot}` });
    expect(status).toBe(200);
    expect(headers["set-cookie"]?.at(-1)).toMatch(/^SWITCHYARD_SLOT=\d+;/);
  });

  test("two sticky services on one host do not affect each other", async () => {
    const cookie = async (path: string) => (await ask(path)).headers["set-cookie"]?.[0] ?? "";
    expect(await cookie("/sticky")).toContain("; path=/sticky;");
    expect(await cookie("/sticky/too/x")).toContain("; path=/sticky/too;");
  });

  test("balance=uri always sends a path to the same instance", async () => {
    const paths = Array.from({ length: 12 }, (_, index) => `/by-uri/${index}`);
    const bodies = async () => (await Promise.all(paths.map((path) => ask(path)))).map(({ body }) => body);
    const first = await bodies();
    expect(new Set(first).size).toBeGreaterThan(1);
    expect(await bodies()).toEqual(first);
  });

  test("maxconn queues requests", async () => {
    const bodies = await Promise.all(Array.from({ length: 4 }, () => ask("/one")));
    expect(bodies.map(({ status, body }) => [status, body])).toEqual(Array(4).fill([200, "1"]));
  });

  test("timeout_server ends a slow response", async () => {
    expect(await ask("/slow")).toMatchObject({
      status: 504,
      body: expect.stringContaining("too long") as string,
    });
  });

  test("host limits the service to that host", async () => {
    expect(await ask("/", { Host: "shop.test" })).toMatchObject({ status: 200, body: "hosted 0" });
    expect(await ask("/any/path", { Host: "SHOP.test:80" })).toMatchObject({ status: 200, body: "hosted 0" });
    expect((await ask("/", { Host: "other.test" })).status).toBe(404);
    expect((await ask("/hosted")).status).toBe(404);
    expect(await ask("/hello/v1", { Host: "other.test" })).toMatchObject({ body: "hello/v1 0" });
  });

  test("strip_prefix=false leaves the path unchanged", async () => {
    expect(await seen("/whole/x?y=1")).toMatchObject({ url: "/whole/x?y=1" });
  });
});

describe("gRPC", () => {
  test.each([
    ["over TLS", `https://localhost:${httpsPort}`],
    ["without TLS, by prior knowledge", `http://localhost:${port}`],
  ])("%s: both sides stream, and the trailers arrive", async (_, url) => {
    const client = http2.connect(url, { rejectUnauthorized: false });
    const stream = client.request({
      ":method": "POST",
      ":path": "/shop.Greeter/SayHello",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const trailers = once(stream, "trailers") as Promise<[http2.IncomingHttpHeaders]>;
    for (const message of ["one", "two"]) {
      stream.write(message);
      const [echo] = (await once(stream, "data")) as [Buffer];
      expect(echo.toString()).toBe(message);
    }
    stream.end();
    expect((await trailers)[0]["grpc-status"]).toBe("0");
    client.close();
  });
});

test("a websocket works over an HTTP/2 stream", async () => {
  const chat = await WebSocketService.start("chat");
  await consul.register("chat", chat.port);
  await until(`${balancer.url}/chat`, ({ status }) => status === 200);
  const session = http2.connect(`https://localhost:${httpsPort}`, { rejectUnauthorized: false });
  const client = await WebSocketClient.openIn(session, "/chat");
  expect(await client.echo("hello")).toBe("chat: hello");
  expect(await client.echo("again")).toBe("chat: again");
  session.destroy();
  chat.stop();
});

test("every request is logged or counted as dropped, even at thousands per second", async () => {
  const path = "/hello/v1/counted";
  const leftOut = () => balancer.counter("process_dropped_logs_total");
  const before = await leftOut();
  const answered = () => balancer.counter(`backend_http_requests_total{proxy="svc:hello:v1"}`);
  const enough = (await answered()) + 10_000;
  const load = startLoad(balancer.url + path, { perSecond: 5_000, connections: 64 });
  while ((await answered()) < enough) await sleep(100);
  const { requests, failures } = await load.stop();
  expect(failures).toEqual({});
  const dropped = (await leftOut()) - before;
  // HAProxy drops a log line if the kernel suspended another of its threads while that one was writing a line.
  expect(dropped).toBeLessThan(requests / 100);
  // Docker may still be writing the log.
  const logged = async () =>
    (await balancer.logs()).split("\n").filter((line) => line.includes(`GET ${path} `)).length;
  for (let tries = 0; tries < 20 && (await logged()) < requests - dropped; tries++) await sleep(250);
  expect(await logged()).toBe(requests - dropped);
});
