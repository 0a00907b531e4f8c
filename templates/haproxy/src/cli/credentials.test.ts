import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readPassword } from "./credentials";

const folder = mkdtempSync(join(tmpdir(), "credentials-"));
const file = join(folder, "password");
afterAll(() => {
  rmSync(folder, { recursive: true });
});

it("takes the password from the file, without its last line break", () => {
  writeFileSync(file, "secret\n");
  const env: Record<string, string | undefined> = { STATS_PASSWORD_FILE: file };
  readPassword(env);
  expect(env["STATS_PASSWORD"]).toBe("secret");
});

it("leaves the environment alone without a file", () => {
  const env = { STATS_PASSWORD: "given" };
  readPassword(env);
  expect(env).toEqual({ STATS_PASSWORD: "given" });
});

it("names a file that it cannot use", () => {
  writeFileSync(file, "\n");
  expect(() => {
    readPassword({ STATS_PASSWORD_FILE: file });
  }).toThrow(/STATS_PASSWORD_FILE=.* is empty/);
  expect(() => {
    readPassword({ STATS_PASSWORD_FILE: join(folder, "none") });
  }).toThrow(/STATS_PASSWORD_FILE=.* cannot be read \(ENOENT/);
});
