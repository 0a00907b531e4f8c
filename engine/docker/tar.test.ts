import { spawnSync } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { expect, it } from "vitest";
import { archiveOf } from "./tar";

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
