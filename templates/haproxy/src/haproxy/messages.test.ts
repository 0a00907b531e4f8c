import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MessageLog, sayMessage } from "./messages";

const inPool = "Server spare:0/hello:v1::10.0.0.1:27023";
const own = "Server svc:hello:v1/ip6.fd00::1.27023";
const counts = (count: number, word: string, more = "0 sessions active, 0 requeued, 0 remaining in queue") =>
  `${count} active and 0 backup servers ${word}. ${more}.`;

test.each([
  [
    `${inPool} is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. ${counts(2, "left")}`,
    'hello/v1 10.0.0.1:27023 is DOWN: Layer4 connection problem, info: "Connection refused", check duration: 0ms (2 instances are up)',
  ],
  [
    `${own} is DOWN, reason: Layer7 wrong status, code: 500, info: "Oh. No", check duration: 3ms. ${counts(0, "left")}`,
    'hello/v1 ip6.fd00::1.27023 is DOWN: Layer7 wrong status, code: 500, info: "Oh. No", check duration: 3ms (no instance is up)',
  ],
  [
    `${own} is UP, reason: Layer7 check passed, code: 200, check duration: 1ms. ${counts(1, "online", "0 sessions requeued, 0 total in queue")}`,
    "hello/v1 ip6.fd00::1.27023 is UP: Layer7 check passed, code: 200, check duration: 1ms (1 instance is up)",
  ],
  [
    `${inPool} is DOWN, changed from CLI. ${counts(3, "left")}`,
    "hello/v1 10.0.0.1:27023 does not answer yet (3 instances are up)",
  ],
  [
    `${inPool} is UP, changed from CLI. ${counts(3, "online", "0 sessions requeued, 0 total in queue")}`,
    "hello/v1 10.0.0.1:27023 answers (3 instances are up)",
  ],
  [
    "svc:db/10.0.0.1:5432 changed its IP from 10.0.0.1 to 10.0.0.2 by DNS cache.",
    "db 10.0.0.1:5432 changed its IP from 10.0.0.1 to 10.0.0.2 by DNS cache.",
  ],
])("an event is one line with service, instance and reason: %s", (message, line) => {
  expect(sayMessage(`[WARNING]  (17) : ${message}`)).toBe(line);
});

test.each([
  "[NOTICE]   (17) : New worker (19) forked",
  "[NOTICE]   (17) : CLI : 'server spare:0/hello:v1::10.0.0.1:1' : New server registered.",
  `[WARNING]  (17) : config : ${own} is DOWN, changed from server-state after a reload. ${counts(1, "left")}`,
  `[WARNING]  (17) : ${inPool} is UP/READY (leaving forced maintenance).`,
  `[WARNING]  (17) : ${inPool} is UP/DRAIN (leaving forced maintenance).`,
  `[WARNING]  (17) : ${inPool} remains in forced drain mode.`,
  `[WARNING]  (17) : ${inPool} is DOWN (leaving forced drain).`,
  `[WARNING]  (17) : ${inPool} is going DOWN for maintenance. ${counts(1, "left")}`,
  `[WARNING]  (17) : ${inPool} was DOWN and now enters maintenance.`,
  "[ALERT]    (17) : backend 'svc:hello:v1' has no server available!",
  "[WARNING]  (17) : Proxy http stopped (cumulated conns: FE: 1, BE: 0).",
  "[WARNING]  (17) : Former worker (19) exited with code 0 (Exit)",
  "[WARNING]  (17) : All workers exited. Exiting... (0)",
])("the steps of our own commands and of every reload need no line: %s", (message) => {
  expect(sayMessage(message)).toBeUndefined();
});

test.each([
  "[ALERT]    (17) : Current worker (19) exited with code 139 (Segmentation fault)",
  `[WARNING]  (17) : ${own} is going DOWN for maintenance (DNS NX status). ${counts(1, "left")}`,
  `[WARNING]  (17) : ${own} is UP/READY (resolves again).`,
  "[WARNING]  (17) : Server without a name",
  "anything else",
  "",
])("other lines pass through: %s", (message) => {
  expect(sayMessage(message)).toBe(`haproxy: ${message}`);
});

describe("a new server", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const message = (state: string, server = inPool) =>
    `[WARNING]  (17) : ${server} is ${state}, changed from CLI. ${counts(3, state === "UP" ? "online" : "left")}`;
  const logged = () => {
    const lines: string[] = [];
    return { lines, messages: new MessageLog((line) => lines.push(line)) };
  };

  test("that answers soon has no line of its own", () => {
    const { lines, messages } = logged();
    messages.add(message("DOWN"));
    messages.add(message("UP"));
    vi.runAllTimers();
    expect(lines).toEqual([]);
  });

  test("that leaves before it answers has none either", () => {
    const { lines, messages } = logged();
    messages.add(message("DOWN"));
    messages.add(`[WARNING]  (17) : ${inPool} was DOWN and now enters maintenance.`);
    vi.runAllTimers();
    expect(lines).toEqual([]);
  });

  test("that takes longer has one, and another when it answers", () => {
    const { lines, messages } = logged();
    messages.add(message("DOWN"));
    vi.runAllTimers();
    messages.add(message("UP"));
    expect(lines).toEqual([
      "hello/v1 10.0.0.1:27023 does not answer yet (3 instances are up)",
      "hello/v1 10.0.0.1:27023 answers (3 instances are up)",
    ]);
  });

  test("among very many is logged at once, so that few are remembered", () => {
    const { lines, messages } = logged();
    for (let port = 1; port <= 1_200; port++) messages.add(message("DOWN", `Server svc:a/10.0.0.1:${port}`));
    expect(lines).toHaveLength(200);
    expect(vi.getTimerCount()).toBe(1_000);
  });
});
