import { expect, test } from "vitest";
import { read } from "../testing";
import { retries } from "./retries";

test.each([
  ["0", 0],
  ["10", 10],
])("accepts %s, for TCP too", (value, expected) => {
  expect(read(retries, { retries: value })).toBe(expected);
  expect(read(retries, { retries: value, tcp_port: "25" }, "tcp")).toBe(expected);
});

test("has no value by default: HAProxy's is in the defaults section", () => {
  expect(read(retries, {})).toBeUndefined();
});

test.each(["-1", "11", "1.5", "many"])("rejects %j", (value) => {
  expect(read(retries, { retries: value })).toContain("which is not a whole number from 0 to 10");
});

test("renders a backend line, for HTTP and TCP", () => {
  expect(retries.backendLines?.(5, "http")).toEqual(["retries 5"]);
  expect(retries.backendLines?.(5, "tcp")).toEqual(["retries 5"]);
});
