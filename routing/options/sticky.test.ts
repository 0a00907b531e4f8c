import { expect, test } from "vitest";
import { read } from "../testing";
import { sticky } from "./sticky";

test.each([
  ["true", true],
  ["1", true],
  ["false", false],
])("accepts %s", (value, expected) => {
  expect(read(sticky, { sticky: value })).toBe(expected);
});

test("rejects anything else", () => {
  expect(read(sticky, { sticky: "perhaps" })).toContain("which is neither true nor false");
});

test("gives each server the same cookie at every load balancer", () => {
  const server = { name: "10.0.0.1:30001", service: {} };
  expect(sticky.serverWords?.(true, server)).toBe("cookie 10d00f2d94c8");
  expect(sticky.serverWords?.(false, server)).toBeUndefined();
});
