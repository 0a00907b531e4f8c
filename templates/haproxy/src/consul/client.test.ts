import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import * as https from "node:https";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { makeCertificate } from "../../../../test/e2e/certificates";
import { Consul, TooLarge } from "./client";
import { readConsulOptions, type ConsulOptions } from "./options";

const servers: Server[] = [];
const clients: Consul[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Starts a fake Consul and returns its port. */
async function fake(handler: Handler, server: Server = createServer(handler)): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** The number of open connections of each fake Consul. */
const connections = (): Promise<number[]> =>
  Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.getConnections((_, count) => {
            resolve(count);
          });
        }),
    ),
  );

const good: Handler = (_, response) => response.setHeader("X-Consul-Index", "7").end("[]");
const { signal } = new AbortController();

function client(ports: readonly number[], more: Partial<ConsulOptions> = {}): Consul {
  const addresses = ports.map((port) => ({ host: "127.0.0.1", port, tls: false }));
  const consul = new Consul({ addresses, tls: { verify: true }, ...more });
  clients.push(consul);
  return consul;
}
const ask = (consul: Consul, path = "catalog/nodes") => consul.query(path, 0, 1, signal);

test("returns index and body; the first query does not wait, later ones do", async () => {
  const asked: (string | undefined)[] = [];
  const port = await fake((request, response) => {
    asked.push(request.url);
    good(request, response);
  });
  const consul = client([port]);
  expect(await ask(consul)).toMatchObject({ index: 7, body: [], filtered: false });
  await consul.query("kv/a/?recurse", 7, 60, signal);
  expect(asked).toEqual(["/v1/catalog/nodes?stale", "/v1/kv/a/?recurse&stale&index=7&wait=60s"]);
});

test.each<[string, number, string, RegExp]>([
  ["an ACL", 403, "Permission denied", /403 to catalog\/nodes: Permission denied\. .*CONSUL_HTTP_TOKEN/],
  ["TLS on that port", 400, "Client sent an HTTP request to an HTTPS server.", /Write https:\/\//],
  ["too many connections", 429, "Too many", /http_max_conns_per_client/],
  ["no leader", 500, "No cluster leader", /500 to catalog\/nodes: No cluster leader/],
])("%s is reported with the cure", async (_, status, said, expected) => {
  const port = await fake((_, response) => response.writeHead(status).end(said));
  await expect(ask(client([port]))).rejects.toThrow(expected);
});

test("a key is written with the token, and created only if it does not exist", async () => {
  const asked: string[] = [];
  const port = await fake((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      asked.push(`${method} ${url} ${String(headers["x-consul-token"])} ${body}`);
      response.end("false");
    });
  });
  const consul = client([port], { token: "secret" });
  await consul.write("service/a b", "ä 1");
  await consul.write("service/wanted/hello/v1", "node", { create: true });
  expect(asked).toEqual([
    "PUT /v1/kv/service/a%20b secret ä 1",
    "PUT /v1/kv/service/wanted/hello/v1?cas=0 secret node",
  ]);
});

test("a key that cannot be written is an error, and one that does not exist has no value", async () => {
  const port = await fake((request, response) =>
    request.method === "PUT"
      ? response.writeHead(403).end("Permission denied")
      : response.writeHead(404, { "X-Consul-Index": "1" }).end(),
  );
  const consul = client([port]);
  await expect(consul.write("a", "1")).rejects.toThrow("Consul answered 403 to kv/a: Permission denied");
  expect(await consul.read("a")).toBeUndefined();
});

test("an answer without a leader, an index or JSON is an error", async () => {
  const answers: [Record<string, string>, string, RegExp][] = [
    [{ "X-Consul-Index": "1", "X-Consul-KnownLeader": "false" }, "[]", /no leader/],
    [{}, "[]", /no index/],
    [{ "X-Consul-Index": "x" }, "[]", /no index/],
    [{ "X-Consul-Index": "1" }, "<html>", /JSON/],
  ];
  for (const [headers, body, expected] of answers) {
    const port = await fake((_, response) => response.writeHead(200, headers).end(body));
    await expect(ask(client([port]))).rejects.toThrow(expected);
  }
});

test("404 is an answer for an empty KV folder and an error elsewhere", async () => {
  const port = await fake((_, response) => response.writeHead(404, { "X-Consul-Index": "3" }).end());
  const consul = client([port]);
  expect(await ask(consul, "kv/x/?recurse")).toMatchObject({ index: 3, body: null });
  await expect(ask(consul)).rejects.toThrow("404");
});

test("reads the token file for every query, so the token can be renewed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "switchyard-"));
  const tokenFile = join(folder, "token");
  try {
    const seen: unknown[] = [];
    const port = await fake((request, response) => {
      seen.push(request.headers["x-consul-token"]);
      good(request, response);
    });
    const consul = client([port], { token: "other", tokenFile });
    await expect(ask(consul)).rejects.toThrow(/token cannot be read .*mount it/);
    // Without a token, Consul would show an empty catalog.
    writeFileSync(tokenFile, "\n");
    await expect(ask(consul)).rejects.toThrow(`there is no token in ${tokenFile}`);
    writeFileSync(tokenFile, "one\n");
    await ask(consul);
    writeFileSync(tokenFile, "two\n");
    await ask(consul);
    expect(seen).toEqual(["one", "two"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("switches to the next address on failure and stays there", async () => {
  const counts = { a: 0, b: 0 };
  let broken = false;
  const a = await fake((request, response) => {
    counts.a++;
    if (broken) response.writeHead(500).end("No cluster leader");
    else good(request, response);
  });
  const b = await fake((request, response) => {
    counts.b++;
    good(request, response);
  });
  const consul = client([a, b]);
  await ask(consul);
  expect(counts).toEqual({ a: 1, b: 0 });
  broken = true;
  await expect(ask(consul)).rejects.toThrow("No cluster leader");
  broken = false;
  await ask(consul);
  await ask(consul);
  expect(counts).toEqual({ a: 2, b: 2 });
});

test("all queries switch to the next address together", async () => {
  let waiting: () => void = () => undefined;
  const waits = new Promise<void>((resolve) => (waiting = resolve));
  const a = await fake((request, response) => {
    if (request.url?.includes("waits") === true) waiting();
    else response.destroy();
  });
  const consul = client([a, await fake(good)]);
  const long = ask(consul, "waits");
  const failed = expect(long).rejects.toThrow("cannot be asked for waits");
  await waits;
  await expect(ask(consul, "fails")).rejects.toThrow("cannot be asked for fails");
  await failed;
  expect(await ask(consul, "waits")).toMatchObject({ index: 7 });
});

test("closes a failed connection and the idle ones beside it", async () => {
  const port = await fake((request, response) => {
    if (request.url?.includes("fails") === true) response.destroy();
    else good(request, response);
  });
  const consul = client([port]);
  await Promise.all([ask(consul), ask(consul), ask(consul)]);
  await expect(ask(consul, "fails")).rejects.toThrow("cannot be asked for fails");
  await ask(consul);
  await expect.poll(connections).toEqual([1]);
});

/** The kernel's timer for each client-side connection to that port on loopback. */
const timers = (port: number): (string | undefined)[] => {
  const there = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, state]) => remote === there && state === "01")
    .map(([, , , , , timer]) => timer?.slice(0, 2));
};

test.each(["http", "https"])("TCP keepalive detects a vanished Consul over %s", async (scheme) => {
  const { pem: cert, key } = makeCertificate("consul.test");
  const tls = scheme === "https";
  const port = await fake(() => undefined, tls ? https.createServer({ cert, key }) : undefined);
  const consul = client([], { addresses: [{ host: "127.0.0.1", port, tls }], tls: { verify: false } });
  consul.query("catalog/node-services/n", 1, 600, signal).catch(() => undefined);
  const keepAlive = "02";
  await expect.poll(() => timers(port)).toEqual([keepAlive]);
});

test("stops reading an oversized answer and keeps the address", async () => {
  let asked = 0;
  const a = await fake((_, response) => {
    asked++;
    const chunk = Buffer.alloc(1024 * 1024, " ");
    const write = () => {
      while (!response.destroyed && response.write(chunk));
      response.once("drain", write);
    };
    write();
  });
  const consul = client([a, await fake(good)]);
  await expect(ask(consul)).rejects.toThrow(TooLarge);
  await expect(ask(consul)).rejects.toThrow("more than 64 MiB");
  expect(asked).toBe(2);
});

test("keeps the address after a refusal", async () => {
  const a = await fake((_, response) => response.writeHead(403).end("Permission denied"));
  const consul = client([a, await fake(good)]);
  await expect(ask(consul)).rejects.toThrow("403");
  await expect(ask(consul)).rejects.toThrow("403");
});

test("reads addresses and TLS settings like Consul's own tools", () => {
  const read = (addresses: string | undefined, env: Record<string, string> = {}) =>
    readConsulOptions(addresses, env);
  expect(read(undefined)).toMatchObject({
    value: { addresses: [{ host: "127.0.0.1", port: 8500, tls: false }] },
  });
  expect(read("a.example:8501,https://[::1]:8502", { CONSUL_HTTP_ADDR: "x:1" })).toMatchObject({
    value: {
      addresses: [
        { host: "a.example", port: 8501, tls: false },
        { host: "::1", port: 8502, tls: true },
      ],
    },
  });
  expect(
    read(undefined, { CONSUL_HTTP_ADDR: "c:8501", CONSUL_HTTP_SSL: "true", CONSUL_HTTP_SSL_VERIFY: "false" }),
  ).toMatchObject({ value: { addresses: [{ tls: true }], tls: { verify: false } } });
  const bad: [string | undefined, Record<string, string>, string][] = [
    ["a", {}, "--consul"],
    ["a:1,", {}, "--consul"],
    ["a:1, b:2", {}, "--consul"],
    ["ftp://a:1", {}, "--consul"],
    [undefined, { CONSUL_HTTP_ADDR: "unix:///x" }, "CONSUL_HTTP_ADDR"],
    [undefined, { CONSUL_HTTP_SSL: "maybe" }, "CONSUL_HTTP_SSL"],
    [undefined, { CONSUL_CLIENT_CERT: "/c.pem" }, "CONSUL_CLIENT_KEY"],
  ];
  for (const [addresses, env, named] of bad)
    expect(read(addresses, env)).toMatchObject({
      ok: false,
      error: expect.stringContaining(named) as string,
    });
});
