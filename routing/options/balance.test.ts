import { expect, test } from "vitest";
import { read } from "../testing";
import { balance } from "./balance";

test("is round robin by default", () => {
  expect(read(balance, {})).toBe("roundrobin");
  expect(read(balance, { balance: "leastconn" })).toBe("leastconn");
});

test("rejects unknown algorithms", () => {
  expect(read(balance, { balance: "fastest" })).toBe(
    'has SERVICE_BALANCE="fastest", which is none of roundrobin, leastconn, random, source, uri',
  );
});

test("rejects uri for TCP, which has no URIs", () => {
  expect(read(balance, { balance: "uri", tcp_port: "25" }, "tcp")).toBe(
    "has SERVICE_BALANCE=uri, which only HTTP has: use source",
  );
});

test("renders backend lines for TCP, with consistent hashing for hash algorithms", () => {
  expect(balance.backendLines?.("source", "tcp")).toEqual(["balance source", "hash-type consistent"]);
  expect(balance.backendLines?.("roundrobin", "tcp")).toEqual([]);
  expect(balance.backendLines?.("source", "http")).toEqual([]);
});
