import { expect, test } from "vitest";
import { read } from "../testing";
import { tlsVerify } from "./tls-verify";

test("accepts true and false, and has no value by default", () => {
  expect(read(tlsVerify, { proto: "https", tls_verify: "true" })).toBe(true);
  expect(read(tlsVerify, { proto: "https", tls_verify: "0" })).toBe(false);
  expect(read(tlsVerify, { proto: "https" })).toBeUndefined();
});

test("rejects anything else", () => {
  expect(read(tlsVerify, { proto: "https", tls_verify: "no" })).toContain("which is neither true nor false");
});
