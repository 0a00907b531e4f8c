import { expect, test } from "vitest";
import { read } from "../testing";
import { timeoutServer } from "./timeout-server";

test.each([
  ["1500", 1_500, "1500ms"],
  ["30s", 30_000, "30s"],
  ["120s", 120_000, "2m"],
  ["24h", 86_400_000, "24h"],
])("takes %s as milliseconds, and writes them with the largest unit", (value, milliseconds, written) => {
  expect(read(timeoutServer, { timeout_server: value })).toBe(milliseconds);
  expect(timeoutServer.write?.(milliseconds)).toBe(written);
});

test.each(["0", "25h", "soon", "5 s"])("refuses %j", (value) => {
  expect(read(timeoutServer, { timeout_server: value })).toContain("which is not a duration");
});

test("limits a TCP tunnel too, whose timeout is the one that counts", () => {
  expect(timeoutServer.backendLines?.(5_000, "tcp")).toEqual(["timeout server 5000", "timeout tunnel 5000"]);
  expect(timeoutServer.backendLines?.(5_000, "http")).toEqual([]);
});
