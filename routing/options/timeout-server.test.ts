import { expect, test } from "vitest";
import { read } from "../testing";
import { timeoutServer } from "./timeout-server";

test.each([
  ["1500", 1_500, "1500ms"],
  ["30s", 30_000, "30s"],
  ["120s", 120_000, "2m"],
  ["24h", 86_400_000, "24h"],
])("reads %s as milliseconds, and formats them with the largest unit", (value, milliseconds, written) => {
  expect(read(timeoutServer, { timeout_server: value })).toBe(milliseconds);
  expect(timeoutServer.write?.(milliseconds)).toBe(written);
});

test.each(["0", "25h", "soon", "5 s"])("rejects %j", (value) => {
  expect(read(timeoutServer, { timeout_server: value })).toContain("which is not a duration");
});

test("also sets the tunnel timeout for TCP, which is the one that applies", () => {
  expect(timeoutServer.backendLines?.(5_000, "tcp")).toEqual(["timeout server 5000", "timeout tunnel 5000"]);
  expect(timeoutServer.backendLines?.(5_000, "http")).toEqual([]);
});
