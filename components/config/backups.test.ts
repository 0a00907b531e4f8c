import { describe, expect, test } from "vitest";

import { jobOf, type Backup } from "./backups";
import { parseService, services } from "./services";
import { settingsOf } from "./shown";

const backup = { schedule: "0 3 * * *", to: "/srv/backups" };
const db = {
  name: "shop/db",
  type: "none",
  image: "db:1",
  volumes: ["data:/data", "files:/files:ro", "./conf:/conf:ro"],
  backup,
};
const nfs = { type: "nfs", o: "addr=10.0.0.9", device: ":/srv/data" };
const dump = { dump: ["pg_dump", "shop"], load: ["psql", "shop"] };
const job = (of: object, secrets: readonly string[] = ["backup_password"]) =>
  jobOf(parseService(of, "db"), secrets, "shop/dev");

describe("the backup of a service", () => {
  test("is a job beside it, which reads the volumes that the service writes to", () => {
    const made = job({ ...db, backup: { ...backup, keep: { daily: 7, weekly: 4 } } });
    expect(made).toMatchObject({
      name: "shop/db-backup",
      build: "backup",
      schedule: { cron: "0 3 * * *", time_zone: "UTC", deadline: "1h" },
      command: [
        "backup",
        "--repository=/repository",
        "--host=shop/dev",
        "--volume=data",
        "--keep=daily=7",
        "--keep=weekly=4",
      ],
      volumes: [
        { source: "data", target: "/volumes/data", read_only: true },
        { type: "bind", source: "/srv/backups", target: "/repository" },
      ],
      secrets: ["backup_password"],
    });
    expect(parseService(made, "job")).toMatchObject({ swarmName: "shop-db-backup", type: "none" });
  });

  test("of a database is its dump, and copies no files", () => {
    const made = job({ ...db, healthCheck: "image", backup: { ...backup, ...dump } });
    expect(made?.["command"]).toEqual(["backup", "--repository=/repository", "--host=shop/dev", "--dump=shop-db"]); // prettier-ignore
  });

  test.each([
    ["s3:https://s3.example.com/b", ["backup_password", "backup_s3_access_key", "backup_s3_secret_key"]],
    ["sftp:u@host:/b", ["backup_password", "backup_ssh_key", "backup_ssh_known_hosts"]],
  ])("to %s gets the secrets that it needs, and no others", (to, secrets) => {
    const made = job({ ...db, backup: { ...backup, to } }, ["db_password", ...secrets, "backup_other"]);
    expect(made).toMatchObject({ secrets, volumes: [{ source: "data" }] });
    expect(made?.["command"]).toContain(`--repository=${to}`);
  });

  test("is shown in previews", () => {
    const shown = (more: Partial<Record<keyof Backup, unknown>>) =>
      settingsOf(parseService({ ...db, healthCheck: "image", backup: { ...backup, ...more } }, "db"))[
        "backup"
      ];
    expect(shown({})).toBe("0 3 * * * to /srv/backups");
    expect(shown({ keep: { daily: 7, weekly: 4 }, ...dump })).toBe(
      "0 3 * * * to /srv/backups, keep daily=7 weekly=4, dump pg_dump",
    );
  });

  test.each<[object, string]>([
    [{ backup: { to: "/b" } }, "db.backup.schedule"],
    [{ backup: { ...backup, schedule: "tonight" } }, "db.backup.schedule is"],
    [{ backup: { ...backup, to: "./b" } }, "db.backup.to"],
    [{ backup: { ...backup, to: "s3:https://user:word@host/b" } }, "db.backup.to"],
    [{ backup: { ...backup, to: "sftp://user:word@host//b" } }, "db.backup.to"],
    [{ backup: { ...backup, keep: { daily: 0 } } }, "db.backup.keep.daily"],
    [{ backup: { ...backup, keep: { often: 1 } } }, "db.backup.keep.often"],
    [{ volumes: ["files:/files:ro"] }, "db.backup is set, but the service writes to no volume of a node"],
    [{ backup: { ...backup, dump: dump.dump } }, "db.backup.dump is set, but nothing gets it back"],
    [
      { healthCheck: "image", volumes: ["data:/data", "more:/more"], backup: { ...backup, ...dump } },
      "db.backup.dump is set, but nothing would back up volume more: a restore exchanges all volumes",
    ],
    ...[["./conf:/conf"], [{ type: "volume", source: "conf", target: "/conf", driver_opts: nfs }]].map(
      ([more]): [object, string] => [
        { healthCheck: "image", volumes: ["data:/data", more], backup: { ...backup, ...dump } },
        `db.backup.dump is set, but the instance that load fills would write to ${typeof more === "string" ? "./conf" : "conf"}, beside the present one`,
      ],
    ),
    [{ backup: { ...backup, load: dump.load } }, "db.backup.load is set, but there is no dump"],
    [
      { backup: { ...backup, ...dump } },
      "db.backup.load is set, but nothing says when the service can take it",
    ],
    [{ schedule: "0 4 * * *" }, "db.backup is set, but a job has no data of its own"],
    [{ name: "x".repeat(60) }, "db.name is too long for a service with backup"],
  ])("%j is refused", (more, message) => {
    expect(() => parseService({ ...db, ...more }, "db")).toThrow(`Configuration switchyard:${message}`);
  });

  test.each([
    ["shop/db-backup", "the job that backs up shop/db"],
    ["shop/db-restore", "the name of the instance into which a restore of shop/db loads its dump"],
  ])("leaves %s to what needs the name", (name, what) => {
    const other = { name, type: "none", image: "x:1" };
    expect(JSON.stringify(services.safeParse([db, other]).error?.issues)).toContain(what);
  });
});
