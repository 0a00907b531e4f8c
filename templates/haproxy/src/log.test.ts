import { expect, test } from "vitest";
import { logLine } from "./log";

test("a message is one line that does nothing to a terminal", () => {
  expect(logLine("Consul: two\r\nlines, \u001b[2J\u202e and ä")).toBe(
    "switchyard: Consul: two | lines, \\u001b[2J\\u202e and ä\n",
  );
});
