import { expect, test } from "vitest";
import { read } from "../testing";
import { host } from "./host";

test.each([
  "api.example.com",
  "*.example.com",
  "*.localhost",
  "a.example.com,b.example.com",
  "*.a.b.c.d.e.f,x.org",
])("accepts %s", (value) => {
  expect(read(host, { host: value })).toBe(value);
});

test.each([
  "API.example.com",
  "https://x.org",
  "x.org:80",
  "h\r\nX: y",
  "*",
  "*.",
  "*example.com",
  "a.*.example.com",
  "*.*.example.com",
  "*.a.b.c.d.e.f.g",
  "a.example.com, b.example.com",
  "a.example.com,",
])("rejects %j", (value) => {
  expect(read(host, { host: value })).toContain("which is not a host name: write it in lower case");
});

test("rejects a list that repeats itself or has no end", () => {
  expect(read(host, { host: "x.org,y.org,x.org" })).toContain('which lists "x.org" twice: list it once');
  const many = Array.from({ length: 17 }, (_, index) => `h${index}.org`).join();
  expect(read(host, { host: many })).toContain("which lists more than 16 values");
});

test("health checks send a host that the service has", () => {
  expect(
    ["*.example.com,x.org", "*.example.com", "a.org,b.org"].map((each) => host.map?.write?.(each)),
  ).toEqual(["x.org", "health-check.example.com", "a.org"]);
});

test("is rejected for TCP, which has no host names", () => {
  expect(read(host, { host: "x.org", tcp_port: "25" }, "tcp")).toBe(
    "has tag tcp, where SERVICE_HOST means nothing: remove it, or use tag http",
  );
});
