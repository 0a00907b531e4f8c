import { expect, test } from "vitest";
import { read } from "../testing";
import { proto } from "./proto";

test.each([
  ["h2c", true],
  ["h1", false],
] as const)("takes %s, and writes it the same way", (value, h2c) => {
  expect(read(proto, { proto: value })).toBe(h2c);
  expect(proto.write?.(h2c)).toBe(value);
});

test("rejects other protocols", () => {
  expect(read(proto, { proto: "h3" })).toBe('has SERVICE_PROTO="h3", which is none of h2c, h1');
});

test("makes health checks use HTTP/2 too", () => {
  expect(proto.serverWords?.(true, "10.0.0.1:80")).toBe("proto h2 check-proto h2");
});
