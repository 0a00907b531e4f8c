import { describe, expect, test } from "vitest";
import { describeSchedule, lastTime, nextTime, readSchedule, readScheduleLabels, writeScheduleLabels } from "./schedule"; // prettier-ignore

const nightly = { cron: "0 3 * * *", zone: "UTC", deadlineMs: 3_600_000 };
const helsinki = { cron: "30 3 * * *", zone: "Europe/Helsinki", deadlineMs: 7_200_000 };

describe("schedule", () => {
  test.each([
    ["0 3 * * *", nightly],
    ["@daily", { ...nightly, cron: "@daily" }],
    [{ cron: "30 3 * * *", time_zone: "Europe/Helsinki", deadline: "2h" }, helsinki],
    ["*/5 8-17 * * MON-FRI", { ...nightly, cron: "*/5 8-17 * * MON-FRI" }],
  ])("%j is read, and written as labels", (value, schedule) => {
    expect(readSchedule(value)).toEqual({ ok: true, value: schedule });
    expect(readScheduleLabels(writeScheduleLabels(schedule))).toEqual({ ok: true, value: schedule });
  });

  test.each<[unknown, string[], string]>([
    ["every night", [], "five fields"],
    ["0 0 3 * * *", [], "five fields"],
    ["61 3 * * *", [], "five fields"],
    ["0 3 31 2 *", [], "never comes"],
    [7, [], "five fields"],
    ["0 3 * * *\n", [], "five fields"],
    [{ time_zone: "UTC" }, ["cron"], "five fields"],
    [{ cron: "0 3 * * *", time_zone: "Mars/Olympus" }, ["time_zone"], "Europe/Helsinki"],
    [{ cron: "0 3 * * *", time_zone: "+02:00" }, ["time_zone"], "Europe/Helsinki"],
    [{ cron: "0 3 * * *", deadline: "30s" }, ["deadline"], "1m to 24h"],
    [{ cron: "0 3 * * *", deadline: 3600 }, ["deadline"], "1m to 24h"],
    [{ cron: "0 3 * * *", zone: "UTC" }, ["zone"], "time_zone"],
  ])("%j is refused", (value, path, cure) => {
    const read = readSchedule(value);
    expect(read.ok ? undefined : read.mistake).toMatchObject({ path });
    expect(read.ok ? "" : read.mistake.cure).toContain(cure);
  });

  test("a service without its labels is no job", () => {
    expect(readScheduleLabels({ "switchyard.owner": "a/b" })).toBeUndefined();
  });
});

describe("times", () => {
  test("the last one is not later, and the next one is later", () => {
    const at = new Date("2026-11-29T03:00:00.000Z");
    expect(lastTime(nightly, at)).toEqual(at);
    expect(nextTime(nightly, at)).toEqual(new Date("2026-11-30T03:00:00.000Z"));
    expect(lastTime(nightly, new Date(at.getTime() - 1))).toEqual(new Date("2026-11-28T03:00:00.000Z"));
    expect(lastTime(nightly, new Date(at.getTime() + 1))).toEqual(at);
  });

  test("a time that the change to summer time skips comes once that day", () => {
    // At 3:00, clocks go to 4:00.
    const before = new Date("2026-03-29T00:00:00.000Z");
    const first = nextTime(helsinki, before) ?? before;
    const second = nextTime(helsinki, first) ?? before;
    expect(first.toISOString().slice(0, 10)).toBe("2026-03-29");
    expect(second).toEqual(new Date("2026-03-30T00:30:00.000Z"));
  });

  test("a time that the change to winter time repeats comes once that day", () => {
    // At 4:00, clocks go back to 3:00.
    const first = nextTime(helsinki, new Date("2026-10-24T12:00:00.000Z")) ?? new Date(0);
    const second = nextTime(helsinki, first);
    expect(first.toISOString().slice(0, 10)).toBe("2026-10-25");
    expect(second).toEqual(new Date("2026-10-26T01:30:00.000Z"));
  });
});

test("a time zone is told of unless it is UTC", () => {
  expect([nightly, helsinki].map(describeSchedule)).toEqual(["0 3 * * *", "30 3 * * * (Europe/Helsinki)"]);
});
