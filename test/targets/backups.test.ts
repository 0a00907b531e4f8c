import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { claimEngineUntilRemoved, docker, tasks } from "../e2e/docker";
import { get } from "../e2e/http";
import { run, stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { backupOf, buildPostgres, configure, db, expectTidy, folderFor, inside, notes, sql } from "./backups";

// Backups of a PostgreSQL under writes, and of files.

let path: string;

/** A digest of all rows up to one. */
const rowsUpTo = (id: number): Promise<string> =>
  sql(`select count(*), md5(string_agg(t::text, ',' order by id)) from t where id <= ${id}`);
const last = async (): Promise<number> => Number(await sql("select max(id) from t"));

/** Commits rows one after the other until it is stopped. */
async function writing(work: () => Promise<unknown>): Promise<void> {
  const [task = ""] = await tasks("db");
  const child = spawn("docker", ["exec", "-i", task, "psql", "-h", "/tmp", "-d", "postgres", "-q"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const timer = setInterval(
    () => child.stdin.write("insert into t (word) values (md5(random()::text));\n"),
    5,
  );
  try {
    await sleep(1_000);
    await work();
  } finally {
    clearInterval(timer);
    child.stdin.end();
    await ended;
  }
}

/** Backs up while rows are written. Returns the last row that was committed when it began, and a digest of all until then. */
async function backUp(): Promise<{ id: number; rows: string }> {
  let id = 0;
  await writing(async () => {
    id = await last();
    succeeded(await stack.backup("db"));
    expect(await last()).toBeGreaterThan(id);
  });
  return { id, rows: await rowsUpTo(id) };
}

async function lose(): Promise<void> {
  // A run of the job that has ended still holds the volume.
  await docker("service", "rm", "db", "db-backup");
  await expect.poll(() => tasks("db"), { timeout: 60_000 }).toEqual([]);
  await expect
    .poll(() => run("docker", ["volume", "rm", "e2e_data"]), { timeout: 60_000 })
    .toMatchObject({ code: 0 });
  succeeded(await stack.up());
  await expect.poll(() => sql("select 1").catch(() => ""), { timeout: 60_000 }).toBe("1");
}

beforeAll(async () => {
  await buildPostgres();
  await claimEngineUntilRemoved(() => stack.remove());
  afterwards(() => stack.down("--volumes"));
  path = await folderFor("e2e-backups");
  await configure({ ...db, backup: backupOf(path) }, notes);
  succeeded(await stack.up());
  await sql("create table t (id serial primary key, word text); insert into t (word) values ('first')");
}, 900_000);

afterAll(tearDown);

test("a volume that is lost comes back row for row", async () => {
  const { id, rows } = await backUp();
  await lose();
  succeeded(await stack.restore("db", "--yes"));
  expect(await rowsUpTo(id)).toBe(rows);
  await expectTidy("e2e_data", "db");
});

test("files that are lost come back", async () => {
  const inNotes = (script: string) => inside("notes", "sh", "-c", script);
  await inNotes("echo kept >/data/log");
  const { output } = succeeded(await stack.backup("notes", path));
  expect(output).toMatch(/^snapshot [0-9a-f]{8} of notes$/m);
  await inNotes("rm /data/log; echo lost >/data/other");
  succeeded(await stack.restore("notes", path, "--yes"));
  expect(await inNotes("head /data/*")).toBe("kept");
  await expectTidy("e2e_notes", "notes");
});

test("a backup runs at its time, and is told of", async () => {
  const everyMinute = { schedule: "* * * * *", to: path, keep: { last: 1 } };
  const snapshots = async () => {
    const { output } = succeeded(await stack.restore("notes", "--list"));
    return output.match(/^[0-9a-f]{8} .* notes$/gm) ?? [];
  };
  await configure({ ...db, backup: backupOf(path) }, { ...notes, backup: everyMinute });
  succeeded(await stack.up());
  const [before = ""] = await snapshots();
  const told = async () => (await get("http://localhost:8404/explain?url=/notes-backup")).body;
  await expect.poll(told, { timeout: 150_000 }).toMatch(/notes-backup: a job, \* \* \* \* \*.*succeeded/);
  const after = await snapshots();
  expect(after).toHaveLength(1);
  expect(after).not.toContain(before);
});
