import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { Restic, snapshotsIn } from "./restic";

const place = { repository: "/repository", host: "shop/dev" };
let folder: string;

/** A restic that runs a piece of a shell script. */
function fake(script: string, repository = place.repository): Restic {
  const file = path.join(folder, "restic");
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return new Restic({ ...place, repository });
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
  expect(seen).toBe("--no-cache --retry-lock=30m snapshots\na-well-kept-word /repository \n");
});

test.each([
  [10, "There are no backups at /repository"],
  [12, "The password does not fit the backups at /repository: set backup_password"],
  [11, "Something else works on the backups at /repository"],
  [1, "restic failed (exit code 1): no such thing"],
])("exit code %i is explained", async (code, message) => {
  await expect(fake(`echo no such thing >&2; exit ${code}`).run(["snapshots"])).rejects.toThrow(message);
});

test("reports a full disk", async () => {
  const full = "echo 'Fatal: write /repository/data/ad: no space left on device' >&2; exit 1";
  await expect(fake(full).run(["backup"])).rejects.toThrow("There is no room left at /repository: make room");
});

test.each([
  [0, "c0ffee00"],
  [3, "c0ffee00"],
  [1, undefined],
])("a backup with exit code %i tells its snapshot", async (code, id) => {
  const said = id === undefined ? "" : `echo processed 2 files; echo snapshot ${id} saved;`;
  expect((await fake(`${said} exit ${code}`).backUp(["/volumes/data"])).id).toBe(id);
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
  [
    "c0ffee",
    [{ ...snapshot("c", 1, "/volumes/data"), hostname: "shop/dev:draft" }],
    "may lack files: choose",
  ],
])("%s of %j is refused", async (id, snapshots, message) => {
  await expect(fake(answer(...snapshots)).find(id, "/volumes/data")).rejects.toThrow(message);
});

test.each([
  ["/repository", "cat=10", "cat init"],
  ["/repository", "cat=0", "cat"],
  ["s3:there/new", "init=0", "init"],
  ["s3:there/old", "init=1 cat=0; already='config file already exists'", "init cat"],
  ["s3:there/old", "init=1 cat=0; already='master key and config already initialized'", "init cat"],
])("%s with %s is prepared with %s", async (repository, codes, asked) => {
  const steps = `for word; do case $word in cat | init) break ;; esac; done; echo $word >>${folder}/asked`;
  await fake(`${codes}; ${steps}; echo $already >&2; eval exit \\$$word`, repository).prepare();
  expect(readFileSync(path.join(folder, "asked"), "utf8").trim().split("\n").join(" ")).toBe(asked);
});

test.each([
  ["init=1; said='Access Denied'", "Access Denied"],
  ["init=1 cat=12; said='config file already exists'", "The password does not fit"],
])("a bucket with %s is refused", async (codes, message) => {
  const steps = `for word; do case $word in cat | init) break ;; esac; done`;
  const restic = fake(`${codes}; ${steps}; echo $said >&2; eval exit \\$$word`, "s3:there/old");
  await expect(restic.prepare()).rejects.toThrow(message);
});
