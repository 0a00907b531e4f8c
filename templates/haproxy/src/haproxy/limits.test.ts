import { expect, test } from "vitest";
import { hardFileLimit } from "./limits";

test.each([
  ["1024                 524288               files     ", 524_288],
  ["unlimited            unlimited            files     ", undefined],
])("reads the limit of open files from %s", (line, expected) => {
  const limits = `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${line}\nMax locked memory         65536                65536                bytes\n`;
  expect(hardFileLimit(limits)).toBe(expected);
});
