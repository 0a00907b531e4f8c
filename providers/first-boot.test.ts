import fc from "fast-check";
import { expect, it } from "vitest";

import { failureIn } from "./first-boot";

/** As cloud-init 25.1 prints it, without the parts that nothing reads. */
const status = (more: object) =>
  JSON.stringify({ boot_status_code: "enabled-by-generator", errors: [], ...more }, undefined, 2);

it("tells why cloud-init has failed, and what apt said, on one line", () => {
  const errors = [
    `('package-update-upgrade-install', PackageInstallerError("Failed to install the following packages: {'docker.io'}"))`,
    "('scripts-user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))",
  ];
  const failed = status({ status: "error", extended_status: "error - done", errors });
  const apt =
    "W: Failed to fetch http://127.0.0.1:9/debian  Unable to connect:\nE: Unable\u001b[2J to locate";
  expect(
    failureIn(`${failed}\n${apt}\nW: Failed to fetch http://127.0.0.1:9/debian  Unable to connect:\n`),
  ).toBe(
    [
      ...errors,
      "W: Failed to fetch http://127.0.0.1:9/debian Unable to connect:",
      "E: Unable [2J to locate",
    ].join("; "),
  );
});

it("says so if there is no reason", () => {
  expect(failureIn(status({ status: "error", extended_status: "error - done" }))).toBe(
    "cloud-init does not say why",
  );
});

it("waits while cloud-init runs, or where it has not been installed yet", () => {
  expect(failureIn(status({ status: "running", extended_status: "running" }))).toBeUndefined();
  expect(failureIn(status({ status: "error", extended_status: "error - running" }))).toBeUndefined();
  expect(failureIn(status({ status: "done", extended_status: "degraded done" }))).toBeUndefined();
  expect(failureIn("")).toBeUndefined();
  expect(failureIn("E: Unable to locate package docker.io\n")).toBeUndefined();
  fc.assert(fc.property(fc.string(), (text) => failureIn(text) === undefined));
});
