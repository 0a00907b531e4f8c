import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { Restic, snapshotsIn } from "./restic";

const place = { repository: "/repository", host: "shop/dev" };
let folder: string;

/** A restic that runs a piece of a shell script. */
function fake(script: string): Restic {
  const file = path.join(folder, "restic");
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return new Restic(place);
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "switchyard-restic-"));
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"] ?? ""}`);
  vi.stubEnv("BACKUP_PASSWORD", "a-well-kept-word");
  vi.stubEnv("DOCKER_HOST", "unix:///elsewhere");
  return () => {
    vi.unstubAllEnvs();
  };
});

test("the secrets are in restic's environment, and not on its command line", async () => {
  const seen = await fake('echo "$*"; echo "$RESTIC_PASSWORD $RESTIC_REPOSITORY $DOCKER_HOST"').run([
    "snapshots",
  ]);
  expect(seen).toBe("--no-cache --retry-lock=5m snapshots\na-well-kept-word /repository \n");
});

test.each([
  [10, "There are no backups at /repository"],
  [12, "The password does not fit the backups at /repository: set backup_password"],
  [1, "restic failed (exit code 1): no space left"],
])("exit code %i is explained", async (code, message) => {
  await expect(fake(`echo no space left >&2; exit ${code}`).run(["snapshots"])).rejects.toThrow(message);
});

const snapshot = (id: string, day: number, ...paths: string[]) => ({
  short_id: id,
  time: `2026-11-0${day}T03:00:00.5+02:00`,
  hostname: "shop/dev",
  paths,
});
const answer = (...snapshots: object[]) => `echo '${JSON.stringify(snapshots)}'`;

test("snapshots are in the order of their times", () => {
  const text = JSON.stringify([snapshot("b", 2, "/volumes/data"), snapshot("a", 1, "/volumes/data")]);
  expect(snapshotsIn(text).map(({ id }) => id)).toEqual(["a", "b"]);
  expect(snapshotsIn("null")).toEqual([]);
});

test("the latest one, or one by its ID, even of a volume with another name", async () => {
  const restic = fake(answer(snapshot("b", 2, "/volumes/data"), snapshot("a", 1, "/volumes/data")));
  expect(await restic.find("latest", "/volumes/data")).toEqual({ id: "b", path: "/volumes/data" });
  const other = fake(answer(snapshot("c", 1, "/volumes/old")));
  expect(await other.find("c0ffee", "/volumes/data")).toEqual({ id: "c", path: "/volumes/old" });
});

test.each([
  ["latest", [], "/repository has no backup of /volumes/data of stack shop/dev"],
  ["c0ffee", [snapshot("c", 1, "/db.dump")], "Snapshot c0ffee is of /db.dump, and not like /volumes/data"],
  ["c0ffee", [snapshot("c", 1, "/volumes/../etc")], "and not like /volumes/data"],
])("%s of %j is refused", async (id, snapshots, message) => {
  await expect(fake(answer(...snapshots)).find(id, "/volumes/data")).rejects.toThrow(message);
});
