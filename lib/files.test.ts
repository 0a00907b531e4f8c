import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeWhole } from "./files";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchyard-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("concurrent writes all succeed, and the file holds one of them completely", async () => {
  const path = join(folder, "state");
  const contents = Array.from({ length: 20 }, (_, index) => String(index).repeat(10_000 + index));
  await Promise.all(contents.map((content) => writeWhole(path, content)));
  expect(contents).toContain(readFileSync(path, "utf8"));
  expect(readdirSync(folder)).toEqual(["state"]);
});

test("a failed write leaves nothing behind", async () => {
  await expect(writeWhole(folder, "x")).rejects.toThrow("EISDIR");
  expect(
    readdirSync(join(folder, "..")).filter((name) => name.startsWith(`${folder.split("/").at(-1) ?? ""}.`)),
  ).toEqual([]);
});
