import { PassThrough } from "node:stream";

import { expect, it } from "vitest";

import { ask, Interruption } from "./interruption";

function run() {
  const did: string[] = [];
  const interruption = new Interruption(
    () => undefined,
    (code) => did.push(`exit ${code}`),
  );
  const doing = (what: string) => () => {
    did.push(what);
    return Promise.resolve();
  };
  return { did, doing, interruption };
}

it("begins nothing that has to be finished once it is interrupted", async () => {
  const { did, doing, interruption } = run();
  interruption.onEnd(doing("first"));
  interruption.onEnd(doing("second"));
  interruption.interrupt("SIGINT");
  void interruption.uninterrupted(doing("exchange"));
  void interruption.undoLast();
  await expect.poll(() => did).toEqual(["second", "first", "exit 130"]);
});

it("finishes first what it has begun", async () => {
  const { did, doing, interruption } = run();
  interruption.onEnd(doing("undo"));
  await interruption.uninterrupted(async () => {
    interruption.interrupt("SIGINT");
    await doing("exchange")();
  });
  expect(interruption.isInterrupted).toBe(true);
  await interruption.end(0);
  expect(did).toEqual(["exchange", "undo", "exit 0"]);
});

it.each([
  ["yes\n", "yes"],
  ["", ""],
])("takes %j as an answer, even if the terminal is closed", async (typed, answer) => {
  const input = new PassThrough();
  const asking = ask("Continue?", input, new PassThrough());
  input.end(typed);
  expect(await asking).toBe(answer);
});

it("takes Ctrl-C as no answer", async () => {
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  const asking = ask("Continue?", input, Object.assign(new PassThrough(), { isTTY: true }));
  input.write("\x03");
  expect(await asking).toBe("");
});
