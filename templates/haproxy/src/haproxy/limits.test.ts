import { expect, test } from "vitest";
import { hardFileLimit, releaseMakesBackends } from "./limits";

test.each([
  ["1024                 524288               files     ", 524_288],
  ["unlimited            unlimited            files     ", undefined],
])("how many files HAProxy may open is what %s says", (line, expected) => {
  const limits = `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${line}\nMax locked memory         65536                65536                bytes\n`;
  expect(hardFileLimit(limits)).toBe(expected);
});

test.each([
  ["HAProxy version 3.0.11-1+deb13u1 2025/07/09 - https://haproxy.org/\nStatus: stable", false],
  ["HAProxy version 3.4.0 2026/06/03 - https://haproxy.org/", true],
  ["HAProxy version 3.10.2 2029/01/01 - https://haproxy.org/", true],
  ["HAProxy version 4.0-dev1 2028/01/01 - https://haproxy.org/", true],
  ["", false],
])("whether it makes backends while it runs is in %j", (printed, expected) => {
  expect(releaseMakesBackends(printed)).toBe(expected);
});
