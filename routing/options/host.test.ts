import { expect, test } from "vitest";
import { read } from "../testing";
import { host } from "./host";

test("accepts a host name", () => {
  expect(read(host, { host: "api.example.com" })).toBe("api.example.com");
});

test.each(["API.example.com", "https://x.org", "x.org:80", "h\r\nX: y"])("rejects %j", (value) => {
  expect(read(host, { host: value })).toContain("which is not a host name: write it in lower case");
});

test("is rejected for TCP, which has no host names", () => {
  expect(read(host, { host: "x.org", tcp_port: "25" }, "tcp")).toBe(
    "has tag tcp, where SERVICE_HOST means nothing: remove it, or use tag http",
  );
});
