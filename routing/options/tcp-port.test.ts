import { expect, test } from "vitest";
import { read } from "../testing";
import { tcpPort } from "./tcp-port";

test("accepts a port", () => {
  expect(read(tcpPort, { tcp_port: "5432" }, "tcp")).toBe(5432);
});

test("is required for TCP", () => {
  expect(read(tcpPort, {}, "tcp")).toBe(
    "has tag tcp but no port on the load balancer: set SERVICE_TCP_PORT, for example 5432",
  );
});

test("is rejected for HTTP", () => {
  expect(read(tcpPort, { tcp_port: "5432" })).toBe(
    "has SERVICE_TCP_PORT, which needs tag tcp: set SERVICE_TAGS=tcp, or remove it",
  );
});

test.each(["0", "65536", "http"])("rejects %j", (value) => {
  expect(read(tcpPort, { tcp_port: value }, "tcp")).toContain("which is not a whole number from 1 to 65535");
});
