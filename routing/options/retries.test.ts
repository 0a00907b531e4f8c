import { expect, test } from "vitest";
import { read } from "../testing";
import { retries } from "./retries";

test.each([
  ["0", 0],
  ["10", 10],
])("takes %s, for TCP too", (value, expected) => {
  expect(read(retries, { retries: value })).toBe(expected);
  expect(read(retries, { retries: value, tcp_port: "25" }, "tcp")).toBe(expected);
});

test("has no value unless set: HAProxy's is in the defaults", () => {
  expect(read(retries, {})).toBeUndefined();
});

test.each(["-1", "11", "1.5", "many"])("refuses %j", (value) => {
  expect(read(retries, { retries: value })).toContain("which is not a whole number from 0 to 10");
});

test("is a line of the backend's own, for HTTP as for TCP", () => {
  expect(retries.backendLines?.(5, "http")).toEqual(["retries 5"]);
  expect(retries.backendLines?.(5, "tcp")).toEqual(["retries 5"]);
});
