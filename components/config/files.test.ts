import { expect, test } from "vitest";

import { readReference, writeReference } from "./files";

test.each<["secret" | "config", unknown, object, string]>([
  ["secret", "db", { source: "db", target: "db" }, "db"],
  ["config", "web.conf", { source: "web.conf", target: "/web.conf" }, "web.conf"],
  ["secret", { source: "db", target: "/x/y", uid: 999, gid: "0", mode: "0440" }, { source: "db", target: "/x/y", uid: "999", gid: "0", mode: 0o440 }, "db at /x/y of 999:0 mode 440"], // prettier-ignore
])("a %s %j is read", (kind, value, reference, text) => {
  const read = readReference(kind)(value);
  expect(read).toEqual({ ok: true, value: reference });
  expect(read.ok && writeReference(read.value)).toBe(text);
});

test.each<["secret" | "config", unknown, string]>([
  ["secret", 7, "it must be the name of a secret, or a mapping"],
  ["secret", "a b", "it must be the name of a secret"],
  ["secret", "../x", "it must be the name of a secret"],
  ["config", { source: "a", path: "/x" }, "use one of source, target, uid, gid, mode"],
  ["config", { source: "a", target: "x" }, "an absolute path in the container"],
  ["secret", { source: "a", target: "../x" }, "an absolute path in the container"],
  ["secret", { source: "a", target: "x\ny" }, "an absolute path in the container"],
  ["secret", { source: "a", uid: "root" }, "a number, such as 999"],
  // YAML's versions read 0440 differently.
  ["secret", { source: "a", mode: 440 }, 'permissions in quotes, such as "0440"'],
])("a mistake in a %s %j is named, with the cure", (kind, value, cure) => {
  const read = readReference(kind)(value);
  expect(read.ok ? "" : read.mistake.cure).toContain(cure);
});
