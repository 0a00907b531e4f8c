import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Schedule } from "../../../../routing/jobs/schedule";
import type { SwarmJob, SwarmRun } from "../swarm/types";
import { decideJob, type JobDecision } from "./decide";
import { readRecord, writeRecord, type JobRecord } from "./record";

const hourly: Schedule = { cron: "0 * * * *", zone: "UTC", deadlineMs: 30 * 60_000 };
const at = (time: string): number => Date.parse(`2026-11-29T${time}.000Z`);
const iso = (time: string): string => new Date(at(time)).toISOString();

const job = (more: Partial<SwarmJob> = {}): SwarmJob => ({
  id: "j1",
  version: 1,
  swarmName: "shop-report",
  name: "shop/report",
  labels: {},
  createdAt: iso("01:10:00"),
  run: 0,
  started: false,
  retries: false,
  attempts: [],
  ...more,
});
const attempt = (state: string, more: Partial<SwarmRun> = {}): SwarmRun => ({
  state,
  createdAt: iso("02:00:01"),
  changedAt: iso("02:05:00"),
  ...more,
});

/** The job after the start for 2:00, with attempts, and what is known of it. */
const ran = (attempts: readonly SwarmRun[], more: Partial<SwarmJob> = {}): SwarmJob =>
  job({ run: 1, started: true, labels: { "switchyard.run": iso("02:00:00") }, attempts, ...more });
const known: JobRecord = {
  schedule: "0 * * * * UTC",
  handled: iso("02:00:00"),
  finished: 0,
  current: { number: 1, start: iso("02:00:01"), due: iso("02:00:00") },
  runs: [],
};

const decide = (is: SwarmJob, record: JobRecord | undefined, time: string): JobDecision =>
  decideJob(is, hourly, record, at(time));

describe("a job that is new", () => {
  test("waits for its first time", () => {
    const { action, record } = decide(job(), undefined, "01:59:59");
    expect(action).toBeUndefined();
    expect(record).toEqual({ schedule: "0 * * * * UTC", handled: iso("01:10:00"), finished: 0, runs: [] });
  });

  test("starts then, once", () => {
    const { action, record, running } = decide(job(), undefined, "02:00:01");
    expect(action).toEqual({ kind: "start", due: iso("02:00:00") });
    expect(running).toBe(iso("02:00:01"));
    expect(record).toEqual(known);
    // The record is lost: what is started is written at the service itself.
    expect(decide(ran([attempt("running")]), undefined, "02:00:05").action).toBeUndefined();
  });
});

describe("a run", () => {
  test.each<[string, SwarmRun[], object]>([
    ["succeeds", [attempt("complete", { exitCode: 0 })], { result: "succeeded", exitCode: 0 }],
    ["fails", [attempt("failed", { exitCode: 3, error: "non-zero" })], { result: "failed", exitCode: 3 }],
    ["never begins", [attempt("rejected", { exitCode: 0, error: "No such image: a" })], { result: "failed", reason: "No such image: a" }],
    ["loses its node", [attempt("orphaned", { exitCode: 0 })], { result: "failed", reason: "Docker says orphaned" }],
  ])("that %s is told of", (_, attempts, run) => {
    const { record, running } = decide(ran(attempts), known, "02:06:00");
    const times = { due: iso("02:00:00"), start: iso("02:00:01"), end: iso("02:05:00") };
    expect(record.runs).toEqual([{ ...times, ...run }]);
    expect([record.finished, record.current, running]).toEqual([1, undefined, undefined]);
    expect(record.lastSuccess).toBe("exitCode" in run && run.exitCode === 0 ? iso("02:05:00") : undefined);
    // It is told of once.
    expect(decide(ran(attempts), record, "02:06:02").record.runs).toHaveLength(1);
  }); // prettier-ignore

  test.each(["new", "pending", "preparing", "running"])("goes on while Docker says %s", (state) => {
    const { record, running, action } = decide(ran([attempt(state)]), known, "02:06:00");
    expect([record, running, action]).toEqual([known, iso("02:00:01"), undefined]);
  });

  test("that Docker tries again goes on for as long as there is another attempt", () => {
    const failed = attempt("failed", { exitCode: 1, changedAt: iso("02:05:58") });
    const again = attempt("ready", { createdAt: iso("02:05:58") });
    expect(decide(ran([failed], { retries: true }), known, "02:06:00").record).toEqual(known);
    expect(decide(ran([again, failed], { retries: true }), known, "02:06:10").record).toEqual(known);
    expect(decide(ran([failed], { retries: true }), known, "02:06:10").record.runs).toMatchObject([
      { result: "failed", exitCode: 1 },
    ]);
  });

  test("is ended at its deadline", () => {
    const running = ran([attempt("running")]);
    expect(decide(running, known, "02:30:00").action).toBeUndefined();
    const { action, record } = decide(running, known, "02:30:01");
    expect(action).toEqual({ kind: "end" });
    expect(record.runs).toMatchObject([{ result: "ended", reason: "it took longer than its deadline" }]);
    expect(decide(ran([], { started: false }), record, "02:30:03")).toMatchObject({ record, notes: [] });
  });

  test("that a change of the service broke off is told of", () => {
    const { record } = decide(ran([], { started: false }), known, "02:06:00");
    expect(record.runs).toMatchObject([{ result: "ended", reason: "it was broken off" }]);
  });

  test("that somebody started by hand is told of without a time of the schedule", () => {
    const past = { ...known, current: undefined, finished: 1 };
    const { record } = decide(ran([attempt("running")], { run: 2 }), past, "02:06:00");
    expect(record.current).toEqual({ number: 2, start: iso("02:00:01") });
    const done = ran([attempt("complete")], { run: 2 });
    expect(decide(done, past, "02:06:00").record.runs).toEqual([
      { result: "succeeded", exitCode: 0, start: iso("02:00:01"), end: iso("02:05:00") },
    ]);
  });

  test("that its leader had no time to write down is known from the service", () => {
    const { record } = decide(ran([attempt("running")]), { ...known, handled: iso("01:00:00"), current: undefined }, "02:00:05"); // prettier-ignore
    expect(record).toEqual(known);
  });
});

describe("a time", () => {
  const idle: JobRecord = { ...known, current: undefined, finished: 1 };
  const done = ran([attempt("complete")]);

  test("that comes while a run goes on is skipped, and told of once", () => {
    const long: Schedule = { ...hourly, deadlineMs: 24 * 3_600_000 };
    const first = decideJob(ran([attempt("running")]), long, known, at("03:00:01"));
    expect(first.action).toBeUndefined();
    expect(first.record.runs).toMatchObject([{ result: "skipped", due: iso("03:00:00") }]);
    const second = decideJob(ran([attempt("running")]), long, first.record, at("04:00:01"));
    expect(second.record.runs).toMatchObject([{ result: "skipped", due: iso("04:00:00") }]);
    // And is not made up.
    const after = decideJob(ran([attempt("complete")]), long, second.record, at("04:06:00"));
    expect(after.action).toBeUndefined();
    expect(after.record.runs.map(({ result }) => result)).toEqual(["skipped", "succeeded"]);
  });

  test("that was missed is made up once, if it is less than the deadline late", () => {
    expect(decide(done, idle, "05:29:59").action).toEqual({ kind: "start", due: iso("05:00:00") });
    const { action, record } = decide(done, idle, "05:30:00");
    expect(action).toBeUndefined();
    expect(record.runs).toMatchObject([{ result: "missed", due: iso("05:00:00") }]);
    expect(decide(done, record, "05:30:02").record).toEqual(record);
  });

  test("before a change of the schedule does not count", () => {
    const other = { ...idle, schedule: "30 4 * * * UTC" };
    const { action, record } = decide(done, other, "05:10:00");
    expect([action, record.handled]).toEqual([undefined, iso("05:10:00")]);
    expect(decide(done, record, "06:00:00").action).toEqual({ kind: "start", due: iso("06:00:00") });
  });
});

test("whatever happens, no time is started twice, and no run begins while another goes on", () => {
  const events = fc.array(
    fc.record({ minutes: fc.integer({ min: 0, max: 50 }), event: fc.constantFrom("tick", "end", "forget", "refuse") }),
    { maxLength: 60 },
  ); // prettier-ignore
  fc.assert(
    fc.property(events, (steps) => {
      let nowMs = at("01:30:00");
      let is = job();
      let text: string | undefined;
      const started = new Set<string>();
      for (const { minutes, event } of steps) {
        nowMs += minutes * 60_000;
        const time = new Date(nowMs).toISOString();
        if (event === "end")
          is = {
            ...is,
            attempts: is.attempts.map((each) => ({ ...each, state: "complete", changedAt: time })),
          };
        if (event === "forget") text = undefined;
        const { action, record } = decideJob(is, hourly, text === undefined ? undefined : readRecord(text), nowMs); // prettier-ignore
        if (action?.kind === "start") {
          expect(started.has(action.due)).toBe(false);
          expect(is.attempts.every(({ state }) => state === "complete")).toBe(true);
          if (event === "refuse") continue;
          started.add(action.due);
          const labels = { "switchyard.run": action.due };
          const attempts = [{ state: "running", createdAt: time, changedAt: time }];
          is = { ...is, labels, run: is.run + 1, started: true, attempts };
        }
        if (action?.kind === "end") is = { ...is, started: false, attempts: [] };
        text = writeRecord(record);
      }
    }),
  );
});
