import { describe, expect, test } from "vitest";
import { parseService, services } from "./services";
import { settingsOf } from "./shown";

const job = { name: "shop/backup", image: "shop:1", schedule: "0 3 * * *" };
const web = { name: "web", image: "web:1", port: 80, before: ["/app/migrate", "--all"] };

describe("a service with a schedule", () => {
  test("is a job, without saying that it is a worker", () => {
    const parsed = parseService(job, "job");
    expect(parsed).toMatchObject({
      type: "none",
      replicas: 1,
      schedule: { cron: "0 3 * * *", zone: "UTC", deadlineMs: 3_600_000 },
    });
    expect(settingsOf(parsed)).toMatchObject({ schedule: "0 3 * * *", deadline: "1h" });
  });

  test.each<[object, string]>([
    [{ schedule: "tonight" }, "job.schedule is "],
    [{ schedule: { cron: "0 3 * * *", deadline: "5s" } }, "job.schedule.deadline is "],
    [{ schedule: { time_zone: "UTC" } }, "job.schedule.cron is missing"],
    [{ type: "rest", port: 80 }, "job.type is rest, but nothing reaches a service with a schedule"],
    [{ port: 80 }, "job.port is set, but nothing reaches"],
    [{ meta: { sticky: "true" } }, "job.meta.sticky is set, but"],
    [{ replicas: 2 }, "job.replicas is set, but a service with a schedule runs once"],
    [{ healthCheck: "image" }, "job.healthCheck is set, but a job is judged by its exit code"],
    [{ mode: "global" }, "job.mode is global"],
    [{ update: { delay: "5s" } }, "job.update is set"],
    [{ before: ["true"] }, "job.before is set"],
    [{ cpus: "auto" }, "job.cpus is automatic"],
    [{ memory: { max: "1g" } }, "job.memory is automatic"],
    [{ restart_policy: { condition: "any" } }, "job.restart_policy.condition is any"],
  ])("%j is refused", (more, message) => {
    expect(() => parseService({ ...job, ...more }, "job")).toThrow(`Configuration switchyard:${message}`);
  });

  test("a failed run may be tried again", () => {
    const restart_policy = { condition: "on-failure", max_attempts: 3 };
    expect(parseService({ ...job, restart_policy }, "job").restart_policy).toEqual(restart_policy);
  });
});

describe("before", () => {
  test("is a program with arguments, which may be secret", () => {
    const parsed = parseService(web, "web");
    expect(parsed.before).toEqual(["/app/migrate", "--all"]);
    expect(settingsOf(parsed)).toMatchObject({ before: "/app/migrate" });
  });

  test.each<[object, string]>([
    [{ before: [] }, "web.before is empty: list the program and its arguments"],
    [{ before: "migrate" }, 'web.before is "migrate": it must be a list'],
    [{ name: "w".repeat(57) }, "web.name is too long for a service with before: use at most 56 characters"],
  ])("%j is refused", (more, message) => {
    expect(() => parseService({ ...web, ...more }, "web")).toThrow(`Configuration switchyard:${message}`);
  });

  test("another service may not have the name of what runs before", () => {
    const read = services.safeParse([web, { name: "web/before", image: "a:1", type: "none" }]);
    expect(JSON.stringify(read.error?.issues)).toContain("which in Docker is the name of what web runs");
  });
});
