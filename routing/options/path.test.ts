import { expect, test } from "vitest";
import { readyPath } from "../grammar";
import { read } from "../testing";
import { path } from "./path";

test.each(["/", "/a", "/a/b.c", "/a,/b/c,/"])("accepts %j", (value) => {
  expect(read(path, { path: value })).toBe(value);
});

test.each(["a", "/a/", "/x y", "/../a", "/a,b", "/a, /b", ","])("rejects %j", (value) => {
  expect(read(path, { path: value })).toContain("which is not a path: write it like /api/users");
});

test("rejects the path at which the load balancer says whether it is ready", () => {
  for (const value of [readyPath, `/a,${readyPath}`])
    expect(read(path, { path: value })).toContain("is the load balancer's own");
});
