import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseOptions } from "../../../../routing/service-options";
import type { ServiceOptions } from "../../../../routing/types";
import { ReadinessProber, type Candidate } from "./readiness-prober";

const servers: Server[] = [];
const answered = vi.fn<(candidate: Candidate) => Promise<void>>(() => Promise.resolve());
let unwanted: boolean;
/** Its grace period is longer than in production, because the speed of the machine should not matter. */
const prober = (graceMs = 5_000, eagerMs = 5_000) =>
  new ReadinessProber({ answered, wanted: () => !unwanted }, { graceMs, eagerMs });

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

const candidate = (port: number, meta: Readonly<Record<string, string>> = {}, tag = "rest"): Candidate => ({
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

test("reports what is wrong with a candidate that does not answer as it should", async () => {
  const found = vi.fn<(candidate: Candidate, finding: string) => void>();
  const alert = candidate(await bytes("\x15\x03\x01"));
  const closing = candidate(await bytes());
  const watching = new ReadinessProber(
    { answered, found, wanted: () => !unwanted },
    { graceMs: 5, eagerMs: 0 },
  );
  expect(await watching.firstAnswers([alert, closing])).toEqual([]);
  await vi.waitFor(() => {
    expect(found).toHaveBeenCalledWith(alert, expect.stringContaining("speaks TLS"));
  });
  expect(found.mock.calls.every(([{ port }]) => port === alert.port)).toBe(true);
});

test("returns a candidate that answers at once, without an event", async () => {
  const found = candidate(await status(200));
  expect(await prober().firstAnswers([found, candidate(await freePort())])).toEqual([found]);
  await sleep(20);
  expect(answered).not.toHaveBeenCalled();
});

test("does not wait for a slow candidate, and reports it when it answers", async () => {
  const slow = candidate(await http((_, response) => setTimeout(() => response.end(), 200)));
  expect(await prober(5).firstAnswers([slow])).toEqual([]);
  expect(answered).not.toHaveBeenCalled();
  await vi.waitFor(() => {
    expect(answered).toHaveBeenCalledExactlyOnceWith(slow);
  });
});

test("does not wait for a candidate that does not listen, and reports it soon after it does", async () => {
  const port = await freePort();
  expect(await prober().firstAnswers([candidate(port)])).toEqual([]);
  await listen(
    createHttpServer((_, response) => response.end()),
    port,
  );
  await vi.waitFor(() => {
    expect(answered).toHaveBeenCalledOnce();
  });
});

test("stops probing a candidate that is no longer wanted", async () => {
  const listener = vi.fn<RequestListener>((_, response) => response.writeHead(500).end());
  const found = candidate(await http(listener));
  prober().probe([found]);
  await vi.waitFor(() => {
    expect(listener.mock.calls.length).toBeGreaterThan(1);
  });
  unwanted = true;
  await sleep(60);
  const { length } = listener.mock.calls;
  await sleep(100);
  expect(listener.mock.calls).toHaveLength(length);
});

test("does not probe a candidate twice at a time", async () => {
  const listener = vi.fn<RequestListener>((_, response) => setTimeout(() => response.end(), 50));
  const found = candidate(await http(listener));
  const both = prober();
  both.probe([found]);
  expect(await both.firstAnswers([found])).toEqual([]);
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
])("status %d: healthy %s, and on a health path %s", async (code, ordinary, own) => {
  const port = await status(code);
  expect(await prober().firstAnswers([candidate(port)])).toHaveLength(ordinary ? 1 : 0);
  expect(await prober().firstAnswers([candidate(port, { health_path: "/up" })])).toHaveLength(own ? 1 : 0);
});

test("asks what HAProxy's check asks", async () => {
  const asked: unknown[] = [];
  const port = await http(({ method, url, headers }, response) => {
    asked.push([method, url, headers]);
    response.end();
  });
  const headers = { "user-agent": "switchyard-health-check", connection: "close" };
  await prober().firstAnswers([candidate(port)]);
  await prober().firstAnswers([candidate(port, { health_path: "/up?x=1", host: "shop.example.com" })]);
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
  const here = await prober().firstAnswers([candidate(await bytes(...parts))]);
  expect(here).toHaveLength(found);
});

test("takes a TCP service for ready once it listens", async () => {
  const db = candidate(await bytes(), { tcp_port: "5432" }, "tcp");
  expect(await prober().firstAnswers([db])).toEqual([db]);
});

test.each([
  ["in their first seconds", 60_000, 100, 50],
  ["later", 0, 50, 1],
])(
  "keeps the questions to 300 silent instances within one budget %s",
  async (_, eagerMs, perSecond, burst) => {
    let questions = 0;
    const port = await listen(
      createServer((socket) => {
        questions++;
        socket.destroy();
      }),
    );
    const silent = Array.from({ length: 300 }, (_, index) => ({ ...candidate(port), server: `s${index}` }));
    const started = performance.now();
    prober(5_000, eagerMs).probe(silent);
    await sleep(2_500);
    const seconds = (performance.now() - started) / 1_000;
    expect(questions).toBeGreaterThan(silent.length);
    expect(questions).toBeLessThanOrEqual(silent.length + burst + seconds * perSecond);
  },
);

test("a dead crowd does not delay the first question to a new instance", async () => {
  const dead = await freePort();
  const crowd = prober();
  crowd.probe(Array.from({ length: 300 }, (_, index) => ({ ...candidate(dead), server: `s${index}` })));
  await sleep(500);
  const found = candidate(await status(200));
  expect(await crowd.firstAnswers([found])).toEqual([found]);
});
