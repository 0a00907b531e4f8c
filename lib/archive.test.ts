import { spawnSync } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { expect, it } from "vitest";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { archiveOf } from "./archive";

it("writes a reproducible archive with links and long names that tar can read", async () => {
  const long = `${"long/".repeat(30)}name`;
  const entries = [
    { path: "Dockerfile", mode: 0o755, content: Buffer.from("FROM x") },
    { path: "empty", mode: 0o700 },
    { path: "link", mode: 0o777, link: "Dockerfile" },
    { path: long, mode: 0o644, content: Buffer.from("deep") },
    { path: "large", mode: 0o644, content: Buffer.alloc(1_000_000, "x") },
  ];
  const archive = await buffer(archiveOf(entries));
  const list = spawnSync("tar", ["-tvf", "-"], { input: archive, encoding: "utf8" });
  expect(list.status).toBe(0);
  expect(list.stdout).toContain(long);
  expect(list.stdout).toContain("link -> Dockerfile");
  expect(list.stdout).toMatch(/^-rwxr-xr-x .* Dockerfile$/m);
  expect(list.stdout).toMatch(/^drwx------ .* empty\/$/m);
  const read = spawnSync("tar", ["-xOf", "-", long], { input: archive, encoding: "utf8" });
  expect(read.stdout).toBe("deep");
  expect((await buffer(archiveOf(entries))).equals(archive)).toBe(true);
});

it("reads files while it is written, and fails if one has become shorter", async () => {
  const folder = mkdtempSync(join(tmpdir(), "archive-"));
  const file = { path: join(folder, "file"), size: 200_000 };
  const entries = [{ path: "file", mode: 0o644, file }];
  try {
    writeFileSync(file.path, "x".repeat(200_001));
    const archive = await buffer(archiveOf(entries));
    const read = spawnSync("tar", ["-xOf", "-", "file"], { input: archive, encoding: "utf8" });
    expect(read.stdout).toBe("x".repeat(200_000));
    writeFileSync(file.path, "x");
    await expect(buffer(archiveOf(entries))).rejects.toThrow();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
