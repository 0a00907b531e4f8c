import { expect, test } from "vitest";
import { read } from "../testing";
import { healthPath, healthyStatus } from "./health-path";

test("accepts a path with a query", () => {
  expect(read(healthPath, { health_path: "/health?full=1" })).toBe("/health?full=1");
});

test.each(["health", "/a b", "/ HTTP/1.0\r\nX: y", ""])("rejects %j", (value) => {
  expect(read(healthPath, { health_path: value })).toContain("which is not a path to ask for");
});

test("makes the check stricter, because the path is set on purpose", () => {
  expect([healthyStatus(false), healthyStatus(true)]).toEqual(["200-499,501", "200-399"]);
});
