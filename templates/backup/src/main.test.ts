import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";

/** Runs the program with a restic whose `backup` ends like that. Returns what it asked restic, without what all commands have. */
function backUp(code: number, ...args: string[]) {
  const folder = mkdtempSync(path.join(tmpdir(), "switchyard-backup-"));
  const file = path.join(folder, "restic");
  const restic = `#!/bin/sh
    shift 2
    echo "$*" >>${folder}/asked
    case $1 in
      backup) echo "snapshot c0ffee00 saved"; exit ${code} ;;
      snapshots) echo '[{"short_id":"beef0000","time":"2026-11-29T03:00:00Z","hostname":"shop/dev","paths":["/volumes/data"]}]' ;;
    esac`;
  writeFileSync(file, restic);
  chmodSync(file, 0o755);
  const program = ["-r", "./lib/register.cjs", "templates/backup/src/main.ts"];
  const place = ["--repository=/repository", "--host=shop/dev"];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...program, "backup", ...place, "--volume=data", ...args],
    { env: { PATH: `${folder}:${process.env["PATH"] ?? ""}` }, encoding: "utf8" },
  );
  const asked = readFileSync(path.join(folder, "asked"), "utf8").trim().split("\n");
  return { status, stdout, stderr, asked };
}

const draft = "backup --host shop/dev:draft /volumes/data";

test("a snapshot is the stack's once it is known to be whole", () => {
  const { status, stdout, asked } = backUp(0, "--keep=daily=7");
  expect([status, stdout]).toEqual([0, expect.stringContaining("snapshot beef0000 of data")]);
  const forget = (host: string, rule: string) =>
    `forget --quiet --host ${host} --path /volumes/data --group-by host,paths --prune ${rule}`;
  expect(asked).toEqual([
    "cat config --quiet --no-lock",
    "unlock --quiet",
    draft,
    "rewrite --quiet --new-host shop/dev c0ffee00",
    "snapshots --json --no-lock --host shop/dev --path /volumes/data",
    forget("shop/dev:draft", "--keep-last=1"),
    forget("shop/dev", "--keep-daily=7"),
  ]);
});

test("one that lacks files is tried again, and is never the stack's", () => {
  const { status, stderr, asked } = backUp(3);
  expect([status, stderr]).toEqual([1, expect.stringContaining("Files vanished while they were copied")]);
  expect(asked).toEqual(["cat config --quiet --no-lock", "unlock --quiet", draft, draft, draft]);
});
