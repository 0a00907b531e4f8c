import { expect, it } from "vitest";
import { problemWithName } from "./rules";

it.each(["hello/v1", "a", "Web_1.x", "hällo", "a b", "x-80", "consul-ui"])("%s is a valid name", (name) => {
  expect(problemWithName(name)).toBeUndefined();
});

it.each(["", " a", "a//b", "/a", "a/", "a/../b", "./a", "a\tb", "a\u0085b", "x".repeat(129), "consul"])(
  "%j is not a valid name",
  (name) => {
    expect(problemWithName(name)).toBeTypeOf("string");
  },
);
