import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { HttpClient } from "../../../../lib/http";
import { serve } from "../../../../lib/testing";
import { Consul } from "./client";
import { Leadership } from "./leadership";

/** The part of Consul that a lock needs. */
class FakeConsul {
  readonly sessions = new Set<string>();
  lock: { session?: string | undefined; value: string } | undefined;
  isAway = false;
  /** Whether a lock whose session is destroyed cannot be had again: Consul's lock delay, without end. */
  hasLockDelay = false;
  private isDelayed = false;
  private count = 0;
  private index = 1;

  readonly answer = (request: IncomingMessage, response: ServerResponse): void => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      if (this.isAway) return response.writeHead(500).end("No cluster leader");
      const url = new URL(request.url ?? "", "http://consul");
      const { status, text } = this.reply(request.method ?? "", url, body);
      return response.writeHead(status, { "x-consul-index": this.index }).end(text);
    });
  };

  end(session: string): void {
    this.sessions.delete(session);
    if (this.lock?.session === session) {
      this.lock = undefined;
      this.isDelayed = this.hasLockDelay;
    }
    this.index++;
  }

  private reply(method: string, { pathname, searchParams }: URL, value: string) {
    const last = pathname.split("/").at(-1) ?? "";
    const ok = (text: string) => ({ status: 200, text });
    if (pathname.startsWith("/v1/session/create")) {
      const ID = `s${++this.count}`;
      this.sessions.add(ID);
      return ok(JSON.stringify({ ID }));
    }
    if (pathname.startsWith("/v1/session/renew"))
      return this.sessions.has(last) ? ok("[]") : { status: 404, text: "" };
    if (pathname.startsWith("/v1/session/destroy")) {
      this.end(last);
      return ok("true");
    }
    if (method === "GET" && this.lock === undefined) return { status: 404, text: "" };
    if (method === "GET") {
      const Value = Buffer.from(this.lock?.value ?? "").toString("base64");
      const Key = "service/haproxy/autoscaler";
      return ok(JSON.stringify([{ Key, Value, ModifyIndex: this.index, Session: this.lock?.session }]));
    }
    this.index++;
    if (method === "DELETE") this.lock = undefined;
    else if (searchParams.has("release")) this.lock = { value };
    else if (this.lock?.session === undefined && !this.isDelayed)
      this.lock = { value, session: searchParams.get("acquire") ?? "" };
    else return ok("false");
    return ok("true");
  }
}

/** An autoscaler on each node, with a clock that the test moves. */
async function world(...nodes: string[]) {
  const fake = new FakeConsul();
  const consul = new Consul(new HttpClient(await serve(fake.answer)));
  const clock = { ms: 0 };
  const all = nodes.map((node) => {
    const leadership = new Leadership(consul, node, () => undefined, () => clock.ms); // prettier-ignore
    const stop = new AbortController();
    const done = leadership.run(stop.signal);
    const end = async () => {
      stop.abort();
      await done;
    };
    onTestFinished(end);
    return { leadership, end };
  });
  return { fake, clock, all };
}

test("one of two decides, and hands over when it ends", async () => {
  const { all, fake } = await world("n1", "n2");
  fake.hasLockDelay = true;
  await vi.waitFor(() => {
    expect(all.filter(({ leadership }) => leadership.isLeading)).toHaveLength(1);
  });
  const first = all.find(({ leadership }) => leadership.isLeading);
  const second = all.find((each) => each !== first);
  await first?.end();
  expect(first?.leadership.isLeading).toBe(false);
  await vi.waitFor(() => {
    expect(second?.leadership.isLeading).toBe(true);
  }, 10_000);
  await second?.end();
  expect([fake.lock, [...fake.sessions]]).toEqual([undefined, []]);
});

test("without Consul it stops before its session does, and knows why", async () => {
  const { all, fake, clock } = await world("n1");
  const [one] = all;
  await vi.waitFor(() => {
    expect(one?.leadership.isLeading).toBe(true);
  });
  fake.isAway = true;
  clock.ms = 7_999;
  expect(one?.leadership.isLeading).toBe(true);
  clock.ms = 8_000;
  expect(one?.leadership.isLeading).toBe(false);
  await vi.waitFor(() => {
    expect(one?.leadership.problem).toContain("No cluster leader");
  }, 10_000);
});

test("the lock of an earlier run on the same node is taken over, that of another node is not", async () => {
  const { fake, all } = await world("n1");
  await vi.waitFor(() => {
    expect(all[0]?.leadership.isLeading).toBe(true);
  });
  const [one] = all;
  // As if killed: its session stays.
  fake.sessions.add("old");
  await one?.end();
  fake.lock = { value: "n1", session: "old" };
  const again = new Leadership(
    new Consul(new HttpClient(await serve(fake.answer))),
    "n1",
    () => undefined,
    () => 0,
  );
  const stop = new AbortController();
  const done = again.run(stop.signal);
  await vi.waitFor(() => {
    expect(again.isLeading).toBe(true);
  });
  stop.abort();
  await done;
  fake.lock = { value: "n2", session: "other" };
  const stranger = new Leadership(
    new Consul(new HttpClient(await serve(fake.answer))),
    "n1",
    () => undefined,
    () => 0,
  );
  const end = new AbortController();
  const ended = stranger.run(end.signal);
  await vi.waitFor(() => {
    expect(stranger.leader).toBe("n2");
  });
  expect([stranger.isLeading, fake.lock]).toEqual([false, { value: "n2", session: "other" }]);
  end.abort();
  await ended;
});
