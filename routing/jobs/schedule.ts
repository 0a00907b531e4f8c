/** When a job runs: a cron expression in a time zone, in the stack file and as labels of its Swarm service. Pure. */
import { Cron } from "croner";
import { messageOf } from "../../lib/errors";
import { isMapping } from "../../lib/values";
import { parseDuration, writeDuration } from "../grammar";
import { good, isShown, unknownIn, wrong, type Checked } from "../scaling/checked";
import { scheduleLabels } from "./docker";

export interface Schedule {
  /** Minute, hour, day, month and weekday: `0 3 * * *`. */
  readonly cron: string;
  /** Such as `Europe/Helsinki`. */
  readonly zone: string;
  /** How late a run may start, and how long it may take. */
  readonly deadlineMs: number;
}

const utc = "UTC";

/** Reads `schedule`: a cron expression, or a mapping. */
export function readSchedule(value: unknown): Checked<Schedule> {
  if (!isMapping(value)) return read(value, utc, "1h", []);
  const unknown = unknownIn(value, ["cron", "time_zone", "deadline"]);
  if (unknown !== undefined) return { ok: false, mistake: unknown };
  const { cron, time_zone: zone = utc, deadline = "1h" } = value;
  return read(cron, zone, deadline, ["cron"]);
}

function read(cron: unknown, zone: unknown, deadline: unknown, path: string[]): Checked<Schedule> {
  const form = 'it must be five fields, such as "0 3 * * *" for 3:00 every day';
  if (typeof cron !== "string" || !/^[A-Za-z0-9*/,#@ -]{1,100}$/.test(cron))
    return wrong(path, isShown(cron), form);
  if (typeof zone !== "string" || !isZone(zone))
    return wrong(["time_zone"], isShown(zone), "it must be a time zone such as Europe/Helsinki");
  const duration = typeof deadline === "string" ? parseDuration(deadline) : undefined;
  if (duration?.ok !== true || duration.value < 60_000)
    return wrong(["deadline"], isShown(deadline), "it must be a time from 1m to 24h, such as 2h");
  const schedule = { cron, zone, deadlineMs: duration.value };
  try {
    if (cronOf(schedule).nextRun() === null) return wrong(path, isShown(cron), "it never comes; correct it");
  } catch (error) {
    return wrong(path, isShown(cron), `${form} (${messageOf(error)})`);
  }
  return good(schedule);
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return /^[A-Z]/.test(zone);
  } catch {
    return false;
  }
}

const cronOf = ({ cron, zone }: Pick<Schedule, "cron" | "zone">): Cron =>
  new Cron(cron, { timezone: zone, mode: "5-part", paused: true });

/** The first time after that one; undefined if there is none. */
export const nextTime = (schedule: Schedule, after: Date): Date | undefined =>
  cronOf(schedule).nextRun(after) ?? undefined;

/** The last time that is not later than that one; undefined if there is none. */
export const lastTime = (schedule: Schedule, until: Date): Date | undefined =>
  cronOf(schedule)
    .previousRuns(2, new Date(until.getTime() + 1_000))
    .find((time) => time <= until);

export function writeScheduleLabels({ cron, zone, deadlineMs }: Schedule): Record<string, string> {
  return {
    [scheduleLabels.cron]: cron,
    [scheduleLabels.zone]: zone,
    [scheduleLabels.deadline]: writeDuration(deadlineMs),
  };
}

/** The schedule of a Swarm service; undefined if it is no job. */
export function readScheduleLabels(labels: Readonly<Record<string, string>>): Checked<Schedule> | undefined {
  const { [scheduleLabels.cron]: cron, [scheduleLabels.zone]: zone = utc } = labels;
  return cron === undefined ? undefined : read(cron, zone, labels[scheduleLabels.deadline] ?? "1h", ["cron"]);
}

/** `0 3 * * * (Europe/Helsinki)`. */
export const describeSchedule = ({ cron, zone }: Schedule): string =>
  zone === utc ? cron : `${cron} (${zone})`;
