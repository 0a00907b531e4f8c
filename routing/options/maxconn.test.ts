import { expect, test } from "vitest";
import { read } from "../testing";
import { maxconn } from "./maxconn";

test("accepts a number, for TCP too", () => {
  expect(read(maxconn, {})).toBeUndefined();
  expect(read(maxconn, { maxconn: "50" })).toBe(50);
  expect(read(maxconn, { maxconn: "50", tcp_port: "25" }, "tcp")).toBe(50);
});

test.each(["0", "100001", "1e2", "many"])("rejects %j", (value) => {
  expect(read(maxconn, { maxconn: value })).toContain("which is not a whole number from 1 to 100000");
});
