import { chmodSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { readyPath } from "../../routing/grammar";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { baseImage } from "./bases";
import { makeCertificate } from "./certificates";
import { docker } from "./docker";
import { get, until } from "./http";
import { crashRenderer, rendererFaults } from "./renderer-faults";
import { scratch } from "./scratch";
import { run } from "./stack";

// The load balancer as the outside sees it: behind another balancer, by its hosts and paths.

const port = 26_120;
const httpsPort = 26_123;
const files = scratch();
let consul: ConsulAlone;
const things: { stop(): unknown }[] = [];

const keep = <T extends { stop(): unknown }>(thing: T): T => {
  things.push(thing);
  return thing;
};

/** A service that answers with its name and the request as it sees it. */
const echo = (name: string) =>
  Instance.start(name, ({ url, headers }, response) => {
    response.end(JSON.stringify({ name, url, headers }));
  });

beforeAll(async () => {
  const { pem, key } = makeCertificate("edge.test");
  writeFileSync(join(files.path, "edge.pem"), pem + key);
  chmodSync(files.path, 0o755);
  consul = await ConsulAlone.start({ name: "tr-t-edge", port: 26_125 });
});
afterAll(async () => {
  for (const thing of things.reverse()) await thing.stop();
  await consul.stop();
  files.remove();
});

/** Sends text over a connection and returns everything that comes back. */
const exchange = (socket: Socket, text: string | Buffer) =>
  new Promise<string>((resolve, reject) => {
    let answer = "";
    socket.on("data", (data: Buffer) => (answer += data.toString()));
    socket.on("end", () => {
      resolve(answer);
    });
    socket.on("error", reject);
    socket.write(text);
  });

const request = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: edge.test\r\nX-Forwarded-For: 192.0.2.66\r\nConnection: close\r\n\r\n`;
const proxyHeader = `PROXY TCP4 203.0.113.9 10.0.0.1 5555 80\r\n`;

/** Version 2 of the header (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.2), for one client over TCP. */
const proxyHeader2 = Buffer.concat([
  Buffer.from("\r\n\r\n\0\r\nQUIT\n"),
  // Version 2 and PROXY; IPv4 and TCP; the length of what follows.
  Buffer.from([0x21, 0x11, 0, 12]),
  Buffer.from([203, 0, 113, 9, 10, 0, 0, 1]),
  Buffer.from([5556 >> 8, 5556 & 255, 0, 80]),
]);
/** A connection of the balancer's own, such as a health check: version 2 and LOCAL, without addresses. */
const ownHeader2 = Buffer.concat([proxyHeader2.subarray(0, 12), Buffer.from([0x20, 0, 0, 0])]);

describe("behind a balancer that passes on connections", () => {
  let balancer: Balancer;
  const from = (localAddress: string, to = port) => connect({ host: "127.0.0.1", port: to, localAddress });

  beforeAll(async () => {
    balancer = keep(
      await Balancer.start({
        name: "tr-t-edge",
        port,
        consul: consul.address,
        args: [
          "--trust-forwarded=127.0.0.2",
          "--proxy-protocol",
          "--certs=/files",
          `--https-port=${httpsPort}`,
        ],
        docker: ["-v", `${files.path}:/files:ro`],
      }),
    );
    const instance = keep(await echo("echo"));
    await consul.register("echo", instance.port);
    await until(`${balancer.url}/echo`, ({ status }) => status === 200);
  });

  test("the client is the one that the PROXY protocol names, and its own headers are removed", async () => {
    const answer = await exchange(from("127.0.0.2"), proxyHeader + request("/echo"));
    expect(answer).toContain('"x-forwarded-for":"203.0.113.9"');
    expect(await balancer.logs()).toContain("203.0.113.9:5555 ");
  });

  test("also in version 2 of the protocol", async () => {
    const asked = Buffer.concat([proxyHeader2, Buffer.from(request("/echo"))]);
    expect(await exchange(from("127.0.0.2"), asked)).toContain('"x-forwarded-for":"203.0.113.9"');
    expect(await balancer.logs()).toContain("203.0.113.9:5556 ");
    const check = Buffer.concat([ownHeader2, Buffer.from(request(readyPath))]);
    expect(await exchange(from("127.0.0.2"), check)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each([
    [1, proxyHeader],
    [2, proxyHeader2],
  ])("also over HTTPS, in version %d", async (_, header) => {
    const socket = from("127.0.0.2", httpsPort);
    socket.write(header);
    const answer = await exchange(
      connectTls({ socket, servername: "edge.test", rejectUnauthorized: false }),
      request("/echo"),
    );
    expect(answer).toContain('"x-forwarded-for":"203.0.113.9"');
    expect(answer).toContain('"x-forwarded-proto":"https"');
  });

  test("an internal service is not there for clients outside, and does not wake for them", async () => {
    const instance = keep(await echo("inner"));
    await consul.register("inner", instance.port, { Meta: { internal: "true" } });
    await until(`${balancer.url}/inner`, ({ status }) => status === 200);
    const outside = await exchange(from("127.0.0.2"), proxyHeader + request("/inner"));
    const nothing = await exchange(from("127.0.0.2"), proxyHeader + request("/nothing"));
    expect(outside).toMatch(/^HTTP\/1\.1 404 /);
    expect(outside).toBe(nothing);
    expect(await exchange(from("127.0.0.2"), proxyHeader + request("/echo"))).toContain("203.0.113.9");
  });

  test("an internal TCP port takes no connection from outside", async () => {
    const instance = keep(await echo("inner-tcp"));
    const Meta = { internal: "true", tcp_port: `${port + 4}` };
    await consul.register("inner-tcp", instance.port, { Tags: ["tcp"], Meta });
    const { body } = await until(`http://127.0.0.1:${port + 4}/`, ({ status }) => status === 200);
    expect(body).toContain("inner-tcp");
    // Made after the load balancer has started, its network is not known to be inside.
    await docker("network", "create", "--subnet", "10.66.66.0/24", "edge-t");
    keep({ stop: () => docker("network", "rm", "edge-t") });
    const ask = async (to: number) => {
      const code = `exec 3<>/dev/tcp/10.66.66.1/${to} && printf 'GET /echo HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3`;
      const { output } = await run("docker", [
        "run",
        "--rm",
        "--network",
        "edge-t",
        baseImage,
        "bash",
        "-c",
        code,
      ]);
      return output;
    };
    expect(await ask(port)).toContain(" 200 ");
    expect(await ask(port + 4)).not.toContain(" 200 ");
  });

  test("nobody else can pretend to be another client", async () => {
    expect(await exchange(from("127.0.0.1"), proxyHeader + request("/echo"))).toMatch(/^HTTP\/1\.[01] 400 /);
    const asked = Buffer.concat([proxyHeader2, Buffer.from(request("/echo"))]);
    expect(await exchange(from("127.0.0.1"), asked)).not.toContain("x-forwarded-for");
    expect(await exchange(from("127.0.0.1"), request("/echo"))).toContain('"x-forwarded-for":"127.0.0.1"');
  });
});

describe("hosts and paths", () => {
  const at = async (host: string, path: string, headers: Readonly<Record<string, string>> = {}) => {
    const { status, body } = await get(`http://127.0.0.1:${port}${path}`, {
      headers: { Host: host, ...headers },
    });
    const seen = status === 200 ? (JSON.parse(body) as { name: string; url: string }) : undefined;
    return seen === undefined ? `${status}` : `${seen.name} ${seen.url}`;
  };
  const serve = async (name: string, meta: Readonly<Record<string, string>>) => {
    const instance = keep(await echo(name));
    await consul.register(name, instance.port, { Meta: meta });
    return instance;
  };
  let last: Instance;

  beforeAll(async () => {
    await serve("any", { path: "/" });
    await serve("wide", { host: "*.example.com", path: "/" });
    await serve("narrow", { host: "*.b.example.com,x.test", path: "/,/old" });
    await serve("exact", { host: "a.example.com", path: "/api" });
    await serve("shop/v1", { host: "*.shop.test" });
    await serve("shop/v2", { host: "*.shop.test" });
    last = await serve("deep", { host: "*.a.b.c.d.e.f", path: "/" });
    for (let tries = 0; tries < 500; tries++) {
      if ((await at("x.a.b.c.d.e.f", "/")) === "deep /" && (await at("x.shop.test", "/shop")) === "shop/v2 /")
        return;
      await sleep(20);
    }
  });

  test.each([
    ["a host before a wildcard", "a.example.com", "/api/x", "exact /x"],
    ["in any spelling", "A.Example.COM.:80", "/api", "exact /"],
    ["the wildcard where the host has no route", "a.example.com", "/x", "wide /x"],
    ["the longest wildcard", "q.b.example.com", "/x", "narrow /x"],
    ["at any depth", "p.q.b.example.com", "/x", "narrow /x"],
    ["each path", "q.b.example.com", "/old/x", "narrow /x"],
    ["each host", "x.test", "/old", "narrow /"],
    ["not the domain itself", "example.com", "/x", "any /x"],
    ["a domain that another wildcard covers", "b.example.com", "/x", "wide /x"],
    ["a deep domain", "1.2.3.4.a.b.c.d.e.f", "/x", "deep /x"],
    ["not a deep domain itself", "a.b.c.d.e.f", "/x", "any /x"],
    ["any host last", "z.test", "/x", "any /x"],
    ["a version", "q.shop.test", "/shop/v1/x", "shop/v1 /x"],
    ["no missing version", "q.shop.test", "/shop/v3", "404"],
  ])("%s", async (_, host, path, answer) => {
    expect(await at(host, path)).toBe(answer);
  });

  test("the header for a version", async () => {
    expect(await at("q.shop.test", "/shop/x", { "X-Version": "v1" })).toBe("shop/v1 /x");
    expect(await at("q.shop.test", "/shop/x", { "X-Version": "v3" })).toBe("404");
  });

  test("all of it comes and goes without a reload", async () => {
    const reloads = async () => {
      const { body } = await get(`http://127.0.0.1:${port + 2}/metrics`);
      return [...body.matchAll(/^switchyard_reloads_total\{.*\} (\d+)$/gm)].map(([, count]) => count);
    };
    const before = await reloads();
    await consul.deregister("deep", last.port);
    await expect.poll(() => at("x.a.b.c.d.e.f", "/"), { timeout: 10_000 }).toBe("any /");
    await serve("late", { host: "*.late.test", path: "/" });
    await expect.poll(() => at("x.late.test", "/"), { timeout: 10_000 }).toBe("late /");
    expect(await reloads()).toEqual(before);
  });
});

describe("web applications under a prefix", () => {
  const url = `http://127.0.0.1:${port}`;

  beforeAll(async () => {
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      const { searchParams } = new URL(request.url ?? "", url);
      const to = searchParams.get("to");
      const cookies = searchParams.getAll("cookie");
      if (cookies.length > 0) response.setHeader("Set-Cookie", cookies);
      response.writeHead(to === null ? 200 : 302, to === null ? {} : { Location: to }).end(request.url);
    };
    const options = { redirect_slash: "true", restore_prefix: "true" };
    for (const [name, meta] of [
      ["site", options],
      ["app/v1", { ...options, sticky: "true" }],
      ["whole", { ...options, strip_prefix: "false" }],
      ["plain", {}],
    ] as const) {
      const instance = keep(await Instance.start(name, answer));
      await consul.register(name, instance.port, { Meta: meta });
    }
    for (const name of ["site", "app", "whole", "plain"])
      // Until then, the service for all other paths answers with JSON.
      await until(`${url}/${name}/`, ({ status, body }) => status === 200 && body.startsWith("/"));
  });

  test.each([
    ["/site", "/site/"],
    ["/site?x=1&y=%2F", "/site/?x=1&y=%2F"],
    ["/app", "/app/"],
    ["/app/v1", "/app/v1/"],
  ])("%s is redirected to %s", async (path, location) => {
    for (const method of ["GET", "HEAD"]) {
      const { status, headers } = await get(url + path, { method });
      expect([status, headers.location]).toEqual([308, location]);
    }
    expect((await get(url + path, { method: "POST" })).status).toBe(200);
  });

  test.each(["/site/", "/site/x", "/plain", "/whole"])("%s is not redirected", async (path) => {
    expect((await get(url + path)).status).toBe(200);
  });

  test.each([
    ["/site/x", "/login", "/site/login"],
    ["/site/x", `${url}/login?to=/x`, `${url}/site/login?to=/x`],
    ["/site/x", url, `${url}/site`],
    ["/site/x", "/site/login", "/site/login"],
    ["/site/x", "/sitemap", "/site/sitemap"],
    ["/site/x", "//example.org/x", "//example.org/x"],
    ["/site/x", "https://example.org/x", "https://example.org/x"],
    ["/site/x", "login", "login"],
    ["/app/x", "/login", "/app/login"],
    ["/app/v1/x", "/login", "/app/v1/login"],
    ["/whole/x", "/login", "/login"],
    ["/plain/x", "/login", "/login"],
  ])("%s: Location %s arrives as %s", async (path, to, location) => {
    const { headers } = await get(`${url}${path}?${new URLSearchParams({ to }).toString()}`);
    expect(headers.location).toBe(location);
  });

  test("a Location elsewhere stays as it is when the request chooses a version", async () => {
    const to = new URLSearchParams({ to: "https://example.org/x" }).toString();
    const { headers } = await get(`${url}/app/x?${to}`, { headers: { "X-Version": "v1" } });
    expect(headers.location).toBe("https://example.org/x");
  });

  test("the paths of cookies get the prefix", async () => {
    const ask = async (path: string, ...cookies: string[]) => {
      const query = new URLSearchParams(cookies.map((cookie): [string, string] => ["cookie", cookie]));
      return (await get(`${url}${path}?${query.toString()}`)).headers["set-cookie"];
    };
    expect(
      await ask("/site/x", "a=1; Path=/", "b=2; HttpOnly; path=/x; Secure", "c=3", "d=4; Path=/site; Secure"),
    ).toEqual(["a=1; Path=/site/", "b=2; HttpOnly; path=/site/x; Secure", "c=3", "d=4; Path=/site; Secure"]);
    expect(await ask("/whole/x", "a=1; Path=/")).toEqual(["a=1; Path=/"]);
    // The load balancer's own cookie has the prefix once.
    expect(await ask("/app/x", "a=1; Path=/")).toEqual([
      "a=1; Path=/app/",
      expect.stringMatching(/^SWITCHYARD=\w+; path=\/app; /),
    ]);
  });
});

describe("the path that says whether it is ready", () => {
  let state: ReturnType<typeof scratch>;
  let balancer: Balancer;
  const ready = (options: Parameters<typeof get>[1] = {}) => get(balancer.url + readyPath, options);

  beforeAll(async () => {
    state = scratch();
    chmodSync(state.path, 0o777);
    balancer = await Balancer.start({
      name: "tr-t-edge-ready",
      port: 26_130,
      consul: consul.address,
      args: ["--state-dir=/state", "--certs=/files", "--https-port=26133", "--redirect-https"],
      env: rendererFaults(files.path, "/files"),
      docker: ["-v", `${files.path}:/files:ro`, "-v", `${state.path}:/state`],
    });
    const everything = keep(await echo("everything"));
    await consul.register("everything", everything.port, { Meta: { path: "/" } });
    await consul.register("thief", everything.port, { Meta: { path: readyPath } });
    // HTTP redirects to HTTPS.
    await until(
      `${balancer.admin}/routes`,
      ({ body }) => body.includes('"everything"') && body.includes('"thief"'),
    );
  });
  afterAll(async () => {
    // The files belong to the container's user.
    await docker("exec", balancer.container, "sh", "-c", "rm -rf /state/*").catch(() => undefined);
    await balancer.stop();
    state.remove();
  });

  test("is the load balancer's own, for any host, without a redirect or a line in the log", async () => {
    expect(await ready()).toMatchObject({ status: 200, body: '{"ready":true}' });
    expect((await ready({ method: "HEAD", headers: { Host: "10.0.0.1:1" } })).status).toBe(200);
    expect((await get(`${balancer.url}/.well-known/switchyard/ready/`)).status).toBe(308);
    const { quarantined } = await balancer.routes<{
      quarantined: { subject: string; message: string }[];
    }>();
    expect(quarantined).toContainEqual(
      expect.objectContaining({
        subject: "thief",
        message: expect.stringContaining("is the load balancer's own") as string,
      }),
    );
    const log = await balancer.logs();
    expect(log).not.toContain("/.well-known/switchyard/ready HTTP");
    expect(log).toContain("/.well-known/switchyard/ready/ HTTP");
  });

  test("stays 200 while the renderer fails and starts again", async () => {
    const { length: before } = (await balancer.logs()).split("The renderer failed: ");
    const lift = crashRenderer(files.path);
    const statuses = new Set<number>();
    const ask = async () => statuses.add((await ready()).status);
    while ((await balancer.logs()).split("The renderer failed: ").length < before + 2) await ask();
    lift();
    while ((await get(`${balancer.admin}/ready`)).status !== 200) await ask();
    await ask();
    expect([...statuses]).toEqual([200]);
  });

  test("stays 200 while Consul is away, and a load balancer that starts meanwhile is not ready until Consul answers", async () => {
    await until(`${balancer.admin}/ready`, ({ status }) => status === 200);
    await docker("pause", consul.container);
    try {
      expect((await ready()).status).toBe(200);
      await docker("restart", "-t", "5", balancer.container);
      const answer = await until(balancer.url + readyPath, ({ status }) => status !== 0);
      expect(answer).toMatchObject({
        status: 503,
        body: '{"ready":false,"why":"not synchronised with Consul yet"}',
      });
      // It serves from its last good state.
      expect((await get(`${balancer.url}/x`)).status).toBe(308);
    } finally {
      await docker("unpause", consul.container);
    }
    const answer = await until(balancer.url + readyPath, ({ status }) => status === 200);
    expect(answer.status).toBe(200);
    expect((await get(`${balancer.admin}/ready`)).status).toBe(200);
    expect(await balancer.reloads()).toBe(0);
  });
});
