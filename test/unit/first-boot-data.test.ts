import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { metaData, networkConfig, userData } from "../../components/nodes/cloud-init";
import { seedIso } from "../../components/nodes/virtualbox/seed-iso";

// The disk with the data for a first boot, read by a program that nobody here wrote. script/test installs it. The machine of
// test/e2e/machine.test.ts checks its user-data with cloud-init.

const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

const args = {
  name: "node-1",
  authorizedKey: "ssh-ed25519 AAAA me",
  hostKey: {
    privateKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    publicKey: "ssh-ed25519 AAAA node-1-host",
  },
};
const seed = {
  "user-data": userData(args),
  "meta-data": metaData("node-1"),
  "network-config": networkConfig({
    outside: "08:00:27:00:00:01",
    inside: { mac: "08:00:27:00:00:02", address: "192.168.56.11/24" },
  }),
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "first-boot-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe.skipIf(!has("isoinfo"))("isoinfo", () => {
  const isoinfo = (...options: string[]): string =>
    execFileSync("isoinfo", ["-i", file("seed.iso", seedIso(seed)), ...options], {
      stdio: "pipe",
    }).toString();

  test("finds the volume that cloud-init looks for", () => {
    expect(isoinfo("-d")).toMatch(/^Volume id: CIDATA$/m);
  });

  test("lists the seed's files and nothing else", () => {
    const paths = isoinfo("-f").trim().split("\n").sort();
    expect(paths).toEqual(["/META-DATA.;1", "/NETWORK-CONFIG.;1", "/USER-DATA.;1"]);
  });

  test.each(Object.entries(seed))("reads %s as it was written", (name, content) => {
    expect(isoinfo("-x", `/${name.toUpperCase()}.;1`)).toBe(content);
  });
});
