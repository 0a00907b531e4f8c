import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";

import type { AptSettings } from "./apt-settings";
import { parseSettings as parseAws } from "./aws/settings";
import { installCloudInit, metaData, networkConfig, userData } from "./cloud-init";
import { parseSettings as parseGce } from "./gce/settings";
import { parseSettings as parseVirtualBox } from "./virtualbox/settings";
import { nodeNames } from "./provisioned";
import { failureNote, sshFolder, sshOptions, writeKey, writeKnownHost } from "./ssh-files";
import { generateKey, sshKeyProvider } from "./ssh-key";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "made-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const hostKey = {
  privateKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
  publicKey: "ssh-ed25519 AAAA node-1-host",
};

describe("user-data", () => {
  test("matches the golden files", async () => {
    const text = userData({ name: "node-1", authorizedKey: "ssh-ed25519 BBBB me", hostKey });
    await expect(text).toMatchFileSnapshot("../../test/golden/user-data.yaml");
    await expect(installCloudInit()).toMatchFileSnapshot("../../test/golden/install-cloud-init.sh");
  });

  test("names the mirror and the proxy of the machine's packages", () => {
    const apt = { aptMirror: "http://mirror.example.com/debian", proxy: "http://10.0.0.1:3128" };
    const text = userData({ name: "node-1", authorizedKey: "ssh-ed25519 BBBB me", hostKey, apt });
    expect(parse(text)).toMatchObject({
      apt: {
        proxy: "http://10.0.0.1:3128",
        https_proxy: "http://10.0.0.1:3128",
        preserve_sources_list: false,
        primary: [{ arches: ["default"], uri: "http://mirror.example.com/debian" }],
        security: [{ arches: ["default"], uri: "http://mirror.example.com/debian-security" }],
      },
    });
  });

  test("comes with network configuration and a name where we choose the addresses", async () => {
    const network = networkConfig({
      outside: "08:00:27:00:00:01",
      inside: { mac: "08:00:27:00:00:02", address: "192.168.56.11/24" },
    });
    await expect(`${metaData("node-1")}${network}`).toMatchFileSnapshot("../../test/golden/no-cloud.yaml");
  });
});

describe("the startup script for images without cloud-init", () => {
  /** Runs the script below `folder` with other programs, and returns what they wrote down. */
  function start(programs: Readonly<Record<string, string>>, apt?: AptSettings): string[] {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    for (const [name, body] of Object.entries(programs)) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    }
    const script = installCloudInit(apt)
      .replaceAll(/\/(?=(?:etc\/cloud|var|run)\/)/g, `${folder}/`)
      // This machine may have one.
      .replaceAll("command -v cloud-init", `command -v ${bin}/cloud-init`);
    const env = { PATH: `${bin}:/usr/bin:/bin`, CALLS: join(folder, "calls") };
    writeFileSync(env.CALLS, "");
    execFileSync("/bin/sh", ["-c", script], { env, timeout: 10_000, stdio: "pipe" });
    return readFileSync(env.CALLS, "utf8").split("\n").slice(0, -1);
  }

  test("installs cloud-init as soon as nobody else holds apt's locks", () => {
    const told = (what: string): string => `echo "${what}" >>$CALLS`;
    // As with a lock: each command fails twice, and then brings cloud-init.
    const apt = [
      'for last; do :; done; [ "$last" = update ] || last=install',
      told("$last"),
      '[ "$(grep -c "$last" $CALLS)" -gt 2 ] || { echo "E: Could not get lock" >&2; exit 100; }',
      '[ "$last" = update ] || cp "${0%/*}/dpkg" "${0%/*}/cloud-init"',
    ].join("\n");
    const calls = start({ dpkg: told("${0##*/} $1"), "apt-get": apt, sleep: told("sleep") });
    const again = ["sleep", "dpkg --configure"];
    expect(calls).toEqual([
      ...["dpkg --configure", "update", ...again, "update", ...again, "update", "install"],
      ...[...again, "update", "install", ...again, "update", "install"],
      ...["init", "init", "modules", "modules"].map((stage) => `cloud-init ${stage}`),
    ]);
  });

  test("runs every stage of cloud-init, even if one fails", () => {
    const apt = 'for last; do :; done; [ "$last" != cloud-init ] || cp "${0%/*}/fail" "${0%/*}/cloud-init"';
    const calls = start({ dpkg: "", "apt-get": apt, fail: 'echo "$1" >>$CALLS; exit 1' });
    expect(calls).toEqual(["init", "init", "modules", "modules"]);
  });

  test("gets cloud-init from the mirror and through the proxy that the machine is to use", () => {
    mkdirSync(join(folder, "run"));
    const apt = 'for last; do :; done; [ "$last" != cloud-init ] || cp "${0%/*}/dpkg" "${0%/*}/cloud-init"';
    const settings = { aptMirror: "http://mirror.example.com/debian", proxy: "http://10.0.0.1:3128" };
    start({ dpkg: "", "apt-get": apt }, settings);
    const source = readFileSync(join(folder, "run/switchyard-apt.list"), "utf8");
    expect(source).toMatch(/^deb http:\/\/mirror\.example\.com\/debian [a-z]+ main\n$/);
    expect(readFileSync(join(folder, "run/switchyard-apt.conf"), "utf8").split("\n")).toEqual([
      'Acquire::http::Proxy "http://10.0.0.1:3128";',
      'Acquire::https::Proxy "http://10.0.0.1:3128";',
      `Dir::Etc::SourceList "${folder}/run/switchyard-apt.list";`,
      'Dir::Etc::SourceParts "-";',
      "",
    ]);
  });

  test("does nothing on a machine that is set up", () => {
    mkdirSync(join(folder, "var/lib/switchyard"), { recursive: true });
    writeFileSync(join(folder, "var/lib/switchyard/ready"), "");
    expect(start({ "apt-get": "echo called >>$CALLS", "cloud-init": "" })).toEqual([]);
  });
});

describe("an SSH key", () => {
  test("is accepted by ssh-keygen and differs each time", () => {
    const key = generateKey("some comment");
    const file = writeKey(folder, key.privateKey);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(execFileSync("ssh-keygen", ["-y", "-f", file]).toString().trim()).toBe(key.publicKey);
    expect(generateKey("some comment").privateKey).not.toBe(key.privateKey);
  });

  test("is kept when its inputs change", async () => {
    const made = await sshKeyProvider.create({ comment: "one" });
    expect(made.outs?.publicKey).toMatch(/^ssh-ed25519 AAAA\S+ one$/);
    const news = { comment: "two" };
    await expect(sshKeyProvider.diff?.(made.id, { ...news, ...hostKey }, news)).resolves.toMatchObject({
      changes: false,
    });
  });

  test("is replaced, and its machine with it, if that machine could not set itself up", async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const inputs = { comment: "node-1-host" };
      const [failed, other] = [generateKey("node-1-host"), generateKey("node-2-host")];
      const { file, content } = failureNote(sshFolder("dev"), "node-1", failed.publicKey);
      mkdirSync(sshFolder("dev"), { recursive: true });
      writeFileSync(file, content);
      const diff = (key: typeof failed) => sshKeyProvider.diff?.("", { ...inputs, ...key }, inputs);
      expect(await diff(failed)).toMatchObject({ changes: true, replaces: ["publicKey"] });
      expect(await diff(other)).toMatchObject({ changes: false, replaces: [] });
      await sshKeyProvider.delete?.("", { ...inputs, ...failed });
      expect(existsSync(file)).toBe(false);
    } finally {
      process.chdir(before);
    }
  });

  test("is removed with the files that hold it", async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const [key, host, other] = ["ssh", "node-1-host", "node-2-host"].map(generateKey);
      if (key === undefined || host === undefined || other === undefined) throw new Error("no keys");
      const [one, two] = [sshFolder("one"), sshFolder("two")];
      writeKey(one, key.privateKey);
      writeKnownHost(one, "192.0.2.7", host.publicKey);
      writeKnownHost(two, "192.0.2.7", other.publicKey);
      await sshKeyProvider.delete?.("", { comment: "ssh", ...key });
      expect(readdirSync(one)).toEqual(["known_hosts.192.0.2.7"]);
      writeKnownHost(one, "192.0.2.8", host.publicKey);
      writeKnownHost(one, "192.0.2.8", other.publicKey);
      await sshKeyProvider.delete?.("", { comment: "node-1-host", ...host });
      expect(readFileSync(join(one, "known_hosts.192.0.2.8"), "utf8")).toBe(`192.0.2.8 ${other.publicKey}\n`);
      rmSync(one, { recursive: true });
      expect(readdirSync(".switchyard/ssh", { recursive: true })).toEqual([
        "two",
        "two/known_hosts.192.0.2.7",
      ]);
      rmSync(two, { recursive: true });
      await expect(sshKeyProvider.delete?.("", { comment: "ssh", ...key })).resolves.toBeUndefined();
    } finally {
      process.chdir(before);
    }
  });

  test("of a host is stored under the host's address", () => {
    writeKnownHost(folder, "192.0.2.7", "ssh-ed25519 AAAA x");
    expect(readFileSync(join(folder, "known_hosts.192.0.2.7"), "utf8")).toBe(
      "192.0.2.7 ssh-ed25519 AAAA x\n",
    );
    // While the machine is replaced, the old one is asked too.
    for (const key of ["B", "B", "C"]) writeKnownHost(folder, "192.0.2.7", `ssh-ed25519 ${key} x`);
    expect(readFileSync(join(folder, "known_hosts.192.0.2.7"), "utf8")).toBe(
      "192.0.2.7 ssh-ed25519 B x\n192.0.2.7 ssh-ed25519 C x\n",
    );
    const options = sshOptions({ folder, key: "id" });
    expect(options).toContain(`UserKnownHostsFile=${folder}/known_hosts.%h`);
    expect(options).toContain("StrictHostKeyChecking=yes");
  });
});

test("nodes keep their names when their number changes", () => {
  expect(nodeNames(1)).toEqual(["node-1"]);
  expect(nodeNames(3)).toEqual(["node-1", "node-2", "node-3"]);
});

describe("machine settings", () => {
  test("have defaults that follow the machine type", () => {
    expect(parseAws({})).toMatchObject({ type: "t3.small", arch: "amd64", spot: false, protect: false });
    expect(parseAws({ type: "m7gd.large" })).toMatchObject({
      arch: "arm64",
      image: expect.stringMatching(/^debian-13-arm64-\d{8}-\d+$/) as string,
    });
    expect(parseGce({})).toMatchObject({ type: "e2-small", image: "debian-cloud/debian-13", osLogin: false });
  });

  test.each([
    ["a1.medium", "arm64"],
    ["t4g.small", "arm64"],
    ["m7gd.large", "arm64"],
    ["im4gn.large", "arm64"],
    ["x2gd.medium", "arm64"],
    ["a10.large", "amd64"],
    ["g4dn.xlarge", "amd64"],
    ["m7i.large", "amd64"],
  ])("of AWS' type %s choose an image for %s", (type, arch) => {
    expect(parseAws({ type })).toMatchObject({ arch, image: expect.stringContaining(`-${arch}-`) as string });
  });

  test.each([
    ["e2-small", "amd64", "pd-balanced"],
    ["n2d-standard-2", "amd64", "pd-balanced"],
    ["t2a-standard-1", "arm64", "pd-balanced"],
    ["c3-standard-4", "amd64", "pd-balanced"],
    ["c3-standard-192-metal", "amd64", "hyperdisk-balanced"],
    ["c4-standard-2", "amd64", "hyperdisk-balanced"],
    ["c4a-standard-1", "arm64", "hyperdisk-balanced"],
    ["c4d-standard-2", "amd64", "hyperdisk-balanced"],
    ["n4-standard-2", "amd64", "hyperdisk-balanced"],
    ["n4a-standard-1", "arm64", "hyperdisk-balanced"],
    ["n4d-standard-2", "amd64", "hyperdisk-balanced"],
    ["m4-megamem-28", "amd64", "hyperdisk-balanced"],
    ["n5-standard-2", "amd64", "hyperdisk-balanced"],
  ])("of Google's type %s follow from its series: %s, %s", (type, arch, diskType) => {
    expect(parseGce({ type })).toMatchObject({ arch, diskType });
  });

  test.each<[(value: unknown) => unknown, object, string]>([
    [parseAws, { typ: "t3.small" }, "machine.typ is not known"],
    [parseAws, { type: "t3" }, "machine.type"],
    [parseAws, { diskGb: 1 }, "machine.diskGb"],
    [parseAws, { spot: "yes" }, "machine.spot"],
    [parseAws, { spot: true, protect: true }, "cannot protect spot"],
    [parseAws, { vpcId: "vpc-1" }, "machine.subnetId is missing"],
    [parseAws, { image: "*" }, "machine.image"],
    [parseGce, { network: "default" }, "machine.subnetwork is missing"],
    [parseGce, { type: "small" }, "machine.type"],
    [parseGce, { osLogin: "TRUE" }, "machine.osLogin"],
    [parseAws, { aptMirror: "mirror.example.com/debian" }, "machine.aptMirror"],
    [parseVirtualBox, { aptMirror: "http://mirror.example.com/debian/" }, "machine.aptMirror"],
    [parseVirtualBox, { aptMirror: "http://mirror/$(reboot)" }, "machine.aptMirror"],
    [parseGce, { proxy: 'http://10.0.0.1:3128";' }, "machine.proxy"],
    [parseGce, { proxy: "http://user:password@10.0.0.1:3128" }, "machine.proxy"],
  ])("%o rejects %j", (parse, value, message) => {
    expect(() => parse(value)).toThrow(message);
  });
});
