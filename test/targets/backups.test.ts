import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { baseImage, consulImage } from "../e2e/bases";
import { claimEngineUntilRemoved, docker, lines, tasks } from "../e2e/docker";
import { scratch } from "../e2e/scratch";
import { run, stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";

// Backups of a PostgreSQL under writes, and of files.

const postgres = `
  RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql
  ENV PATH=/usr/lib/postgresql/17/bin:$PATH PGDATA=/data/17
  RUN mkdir /data && chown postgres /data
  USER postgres
  CMD ["sh", "-c", "[ -s $PGDATA/PG_VERSION ] || initdb -A trust >/dev/null; exec postgres -k /tmp"]`;

const folder = "e2e-backups";
let path: string;

const db = {
  name: "db",
  type: "none",
  image: "e2e/postgres:17",
  volumes: ["data:/data"],
  healthCheck: { command: ["pg_isready", "-h", "/tmp"], intervalSeconds: 1 },
};
/** It is backed up by hand only. */
const notes = {
  name: "notes",
  type: "none",
  image: baseImage,
  command: ["sh", "-c", "echo started >>/data/log; exec sleep infinity"],
  volumes: ["notes:/data"],
};
const backup = () => ({
  schedule: "0 3 * * *",
  to: path,
  keep: { last: 3 },
  dump: ["pg_dump", "-h", "/tmp", "--clean", "--if-exists", "postgres"],
  load: ["psql", "-h", "/tmp", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"],
});

async function sql(statement: string): Promise<string> {
  const [task = ""] = await tasks("db");
  return docker("exec", task, "psql", "-h", "/tmp", "-d", "postgres", "-Atqc", statement);
}

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
async function backUp(...place: string[]): Promise<{ id: number; rows: string }> {
  let id = 0;
  await writing(async () => {
    id = await last();
    succeeded(await stack.backup("db", ...place));
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

async function expectRestored({ id, rows }: { id: number; rows: string }, ...place: string[]): Promise<void> {
  succeeded(await stack.restore("db", ...place, "--yes"));
  expect(await rowsUpTo(id)).toBe(rows);
  expect(lines(await docker("volume", "ls", "-q", "--filter", "name=e2e_data"))).toEqual(["e2e_data"]);
  expect(lines(await docker("service", "ls", "--format", "{{.Name}}")).sort()).toEqual([
    "db",
    "db-backup",
    "notes",
  ]);
}

async function image(tag: string, steps: string): Promise<void> {
  const { path: context } = scratch();
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "Dockerfile"), `FROM ${baseImage}\n${steps}\n`);
  await docker("build", "-q", "-t", tag, context);
}

beforeAll(async () => {
  await image("e2e/postgres:17", postgres);
  await claimEngineUntilRemoved(() => stack.remove());
  afterwards(() => stack.down("--volumes"));
  await docker("volume", "create", folder);
  afterwards(() => docker("volume", "rm", folder));
  path = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", folder);
  stack.configure([{ ...db, backup: backup() }, notes], { baseImage, consulImage });
  succeeded(await stack.setSecret("secrets.backup_password", "a-password"));
  succeeded(await stack.up());
  await sql("create table t (id serial primary key, word text); insert into t (word) values ('first')");
}, 900_000);

afterAll(tearDown);

test("a volume that is lost comes back row for row", async () => {
  const made = await backUp();
  await lose();
  await expectRestored(made);
});

test("files that are lost come back", async () => {
  const inNotes = async (script: string) =>
    docker("exec", (await tasks("notes"))[0] ?? "", "sh", "-c", script);
  await inNotes("echo kept >>/data/log");
  const { output } = succeeded(await stack.backup("notes", path));
  expect(output).toMatch(/^snapshot [0-9a-f]{8} of notes$/m);
  await inNotes("rm /data/log; echo lost >/data/log");
  succeeded(await stack.restore("notes", path, "--yes"));
  // The new instance adds a line of its own.
  await expect.poll(() => inNotes("cat /data/log")).toBe("started\nkept\nstarted");
  expect(lines(await docker("volume", "ls", "-q", "--filter", "name=e2e_notes"))).toEqual(["e2e_notes"]);
});
