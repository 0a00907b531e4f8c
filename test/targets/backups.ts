/** What the tests of backups share: a database, files, and a folder for the backups. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect } from "vitest";

import { baseImage, consulImage } from "../e2e/bases";
import { docker, lines, tasks } from "../e2e/docker";
import { scratch } from "../e2e/scratch";
import { stack, succeeded, type ServiceEntry } from "../e2e/stack";
import { afterwards } from "../e2e/tear-down";

const postgres = `
  RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql
  ENV PATH=/usr/lib/postgresql/17/bin:$PATH PGDATA=/data/17
  RUN mkdir /data && chown postgres /data
  USER postgres
  CMD ["sh", "-c", "[ -s $PGDATA/PG_VERSION ] || initdb -A trust >/dev/null; exec postgres -k /tmp"]`;

export const db = {
  name: "db",
  type: "none",
  image: "e2e/postgres:17",
  volumes: ["data:/data"],
  healthCheck: { command: ["pg_isready", "-h", "/tmp"], intervalSeconds: 1 },
};

export const backupOf = (to: string, more: Readonly<Record<string, unknown>> = {}) => ({
  schedule: "0 3 * * *",
  to,
  keep: { last: 3 },
  dump: ["pg_dump", "-h", "/tmp", "--clean", "--if-exists", "postgres"],
  load: ["psql", "-h", "/tmp", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"],
  ...more,
});

/** A service with files. */
export const notes = {
  name: "notes",
  type: "none",
  image: baseImage,
  command: ["sleep", "infinity"],
  init: true,
  volumes: ["notes:/data"],
};

/** Writes the stack file, with the password of the backups. */
export async function configure(...services: ServiceEntry[]): Promise<void> {
  stack.configure(services, { baseImage, consulImage });
  succeeded(await stack.setSecret("secrets.backup_password", "a-password"));
}

/** Runs a program in the instance of a service. */
export async function inside(service: string, ...program: string[]): Promise<string> {
  const [task = ""] = await tasks(service);
  return docker("exec", task, ...program);
}

export const sql = (statement: string): Promise<string> =>
  inside("db", "psql", "-h", "/tmp", "-d", "postgres", "-Atqc", statement);

export async function buildPostgres(): Promise<void> {
  const { path: context } = scratch();
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "Dockerfile"), `FROM ${baseImage}\n${postgres}\n`);
  await docker("build", "-q", "-t", db.image, context);
}

/** A folder of the node until the end of the test file. */
export async function folderFor(name: string, ...options: string[]): Promise<string> {
  await docker("volume", "create", ...options, name);
  afterwards(() => docker("volume", "rm", name));
  return docker("volume", "inspect", "-f", "{{.Mountpoint}}", name);
}

/** That nothing is left of a restore but the data. */
export async function expectTidy(volume: string, ...services: string[]): Promise<void> {
  expect(lines(await docker("volume", "ls", "-q", "--filter", `name=${volume}`))).toEqual([volume]);
  await expect.poll(() => docker("ps", "-aq", "--filter", "name=switchyard-restore")).toBe("");
  const all = lines(await docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}"));
  expect(all.filter((line) => services.includes(line.split(" ")[0] ?? "")).sort()).toEqual(
    services.map((name) => `${name} 1/1`).sort(),
  );
  expect(all.filter((line) => line.includes("-restore "))).toEqual([]);
  const labels = await docker("service", "inspect", "-f", "{{json .Spec.Labels}}", ...services);
  expect(labels).not.toContain("switchyard.hold");
}
