import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseOptions } from "../../../../routing/service-options";
import type { ServiceOptions } from "../../../../routing/types";
import { Greeter, type Newcomer } from "./readiness-prober";

const servers: Server[] = [];
const answered = vi.fn<(newcomer: Newcomer) => Promise<void>>(() => Promise.resolve());
let unwanted: boolean;
/** With more patience than a change has: how fast a machine is should not matter. */
const greeter = (courtesy = 5_000) => new Greeter({ answered, wanted: () => !unwanted }, courtesy);

beforeEach(() => {
  unwanted = false;
  answered.mockClear();
});
afterEach(() => {
  unwanted = true;
  for (const server of servers.splice(0)) server.close();
});

function optionsOf(meta: Readonly<Record<string, string>>, tag: string): ServiceOptions {
  const parsed = parseOptions([tag], meta);
  if (!parsed?.ok) throw new Error("these options cannot be used");
  return parsed.value.service;
}

const newcomer = (port: number, meta: Readonly<Record<string, string>> = {}, tag = "rest"): Newcomer => ({
  backend: "svc:a",
  server: `127.0.0.1:${port}`,
  address: "127.0.0.1",
  port,
  options: optionsOf(meta, tag),
});

function listen(server: Server, port = 0): Promise<number> {
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}
const http = (listener: RequestListener) => listen(createHttpServer({ keepAlive: false }, listener));
const status = (code: number) => http((_, response) => response.writeHead(code).end());
const bytes = (...parts: string[]) =>
  listen(
    createServer((socket) => {
      socket.on("error", () => undefined);
      void (async () => {
        for (const part of parts) {
          socket.write(part);
          await sleep(1);
        }
        socket.end();
      })();
    }),
  );
const freePort = async () => {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
};

test("whoever is there at once is answered with, and no event tells of it", async () => {
  const found = newcomer(await status(200));
  expect(await greeter().welcome([found, newcomer(await freePort())])).toEqual([found]);
  await sleep(20);
  expect(answered).not.toHaveBeenCalled();
});

test("one that takes its time is not waited for, and told of when it answers", async () => {
  const slow = newcomer(await http((_, response) => setTimeout(() => response.end(), 200)));
  expect(await greeter(5).welcome([slow])).toEqual([]);
  expect(answered).not.toHaveBeenCalled();
  await vi.waitFor(() => {
    expect(answered).toHaveBeenCalledExactlyOnceWith(slow);
  });
});

test("one that does not listen yet holds nothing up, and is told of soon after it does", async () => {
  const port = await freePort();
  expect(await greeter().welcome([newcomer(port)])).toEqual([]);
  await listen(
    createHttpServer((_, response) => response.end()),
    port,
  );
  await vi.waitFor(() => {
    expect(answered).toHaveBeenCalledOnce();
  });
});

test("one that is not wanted any more is not asked again", async () => {
  const listener = vi.fn<RequestListener>((_, response) => response.writeHead(500).end());
  const found = newcomer(await http(listener));
  greeter().greet([found]);
  await vi.waitFor(() => {
    expect(listener.mock.calls.length).toBeGreaterThan(1);
  });
  unwanted = true;
  await sleep(60);
  const { length } = listener.mock.calls;
  await sleep(100);
  expect(listener.mock.calls).toHaveLength(length);
});

test("one that is greeted already is not asked twice at a time", async () => {
  const listener = vi.fn<RequestListener>((_, response) => setTimeout(() => response.end(), 50));
  const found = newcomer(await http(listener));
  const both = greeter();
  both.greet([found]);
  expect(await both.welcome([found])).toEqual([]);
  await vi.waitFor(() => {
    expect(answered).toHaveBeenCalledOnce();
  });
  expect(listener).toHaveBeenCalledOnce();
});

test.each([
  [200, true, true],
  [302, true, true],
  [404, true, false],
  [499, true, false],
  [500, false, false],
  [501, true, false],
  [503, false, false],
])("%d: healthy %s, with a path of its own for that %s", async (code, ordinary, own) => {
  const port = await status(code);
  expect(await greeter().welcome([newcomer(port)])).toHaveLength(ordinary ? 1 : 0);
  expect(await greeter().welcome([newcomer(port, { health_path: "/up" })])).toHaveLength(own ? 1 : 0);
});

test("what is asked is what HAProxy's check asks", async () => {
  const asked: unknown[] = [];
  const port = await http(({ method, url, headers }, response) => {
    asked.push([method, url, headers]);
    response.end();
  });
  const headers = { "user-agent": "switchyard-health-check", connection: "close" };
  await greeter().welcome([newcomer(port)]);
  await greeter().welcome([newcomer(port, { health_path: "/up?x=1", host: "shop.example.com" })]);
  expect(asked).toEqual([
    ["HEAD", "/", { ...headers, host: "localhost" }],
    ["GET", "/up?x=1", { ...headers, host: "shop.example.com" }],
  ]);
});

test.each([
  ["in pieces", ["HTT", "P/1.1 2", "04 No Content\r\n\r\n"], 1],
  ["of HTTP/1.0", ["HTTP/1.0 200 OK\r\n\r\n"], 1],
  ["of something else", ["SSH-2.0-OpenSSH_9.2\r\n"], 0],
  ["that is cut off", ["HTTP/1.1 20"], 0],
  ["that is none", [], 0],
])("an answer %s", async (_, parts, found) => {
  const here = await greeter().welcome([newcomer(await bytes(...parts))]);
  expect(here).toHaveLength(found);
});

test("of a TCP service it is enough that it listens", async () => {
  const db = newcomer(await bytes(), { tcp_port: "5432" }, "tcp");
  expect(await greeter().welcome([db])).toEqual([db]);
});
