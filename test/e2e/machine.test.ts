import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { engineProvider } from "../../providers/engine";
import { readyFile } from "../../components/nodes/cloud-init";
import { writeKey, writeKnownHost } from "../../components/nodes/ssh-files";
import { generateKey } from "../../components/nodes/ssh-key";
import { startMachine, type TestMachine } from "./machine";
import { tearDown } from "./tear-down";

// A fresh Debian becomes a node by nothing but the user-data that VirtualBox, AWS and Compute Engine give to theirs.
// test/targets/machine.test.ts runs a stack on it.

let machine: TestMachine;
/** A machine whose mirror does not answer. */
let cutOff: TestMachine;

beforeAll(async () => {
  machine = await startMachine("e2e-machine");
  cutOff = await startMachine("e2e-machine-cut-off", { aptMirror: "http://127.0.0.1:9/debian" });
}, 180_000);

afterAll(tearDown);

describe("a fresh machine", () => {
  test("sets itself up from its user-data, and up waits for it", async () => {
    const { host, sshOpts } = machine;
    const { outs } = await engineProvider.create({ host, sshOpts, readyFile, timeoutSeconds: 170 });
    expect(outs).toMatchObject({
      bridgeAddress: expect.stringMatching(/^172\./) as string,
    });
  }, 180_000);

  test("has user-data that passes cloud-init's schema check", async () => {
    const file = "/var/lib/cloud/seed/nocloud/user-data";
    expect(await machine.exec("cloud-init", "schema", "--config-file", file)).toMatch(/^Valid/);
    expect(await machine.exec("cloud-init", "status", "--wait", "--long")).toContain(
      "recoverable_errors: {}",
    );
  });

  test("refuses password and root logins, and rotates its logs", async () => {
    const settings = await machine.exec("/usr/sbin/sshd", "-T");
    expect(settings).toMatch(/^permitrootlogin no$/m);
    expect(settings).toMatch(/^passwordauthentication no$/m);
    expect(settings).toMatch(/^maxstartups 100:30:300$/m);
    expect(await machine.exec("docker", "info", "-f", "{{.LoggingDriver}}")).toBe("json-file");
    expect(await machine.exec("apt-config", "dump")).toContain('APT::Periodic::Unattended-Upgrade "1"');
    expect(await machine.exec("id", "-nG", "switchyard")).toBe("switchyard adm docker");
    await expect(machine.exec("su", "switchyard", "-c", "sudo -n true")).rejects.toThrow();
  });

  test("blocks its containers from the cloud's metadata service", async () => {
    const rules = await machine.exec("iptables", "-S", "DOCKER-USER");
    expect(rules).toMatch(/-d 169\.254\.169\.254\/32 -p tcp .*--dport 80 -j DROP/);
  });
});

test("a machine that cannot set itself up says why, and is noted for the next update", async () => {
  const { host, sshOpts, folder, exec } = cutOff;
  const failureNote = { file: join(folder, "ssh", "failed.node-1"), content: "failed ssh-ed25519 AAAA\n" };
  const inputs = { host, sshOpts, readyFile, failureNote, timeoutSeconds: 170 };
  const { message } = await engineProvider.create(inputs).then(
    () => new Error("it was accepted"),
    (reason: unknown) => reason as Error,
  );
  expect(message).toContain(`The machine at ${host} could not set itself up: `);
  expect(message).toMatch(
    /Failed to install the following packages.*Failed to fetch http:\/\/127\.0\.0\.1:9\/debian/,
  );
  expect(message).toMatch(/The next update replaces the machine; .*set machine\.aptMirror or machine\.proxy/);
  const [, command = ""] = /Full log: (.*)\. The next/.exec(message) ?? [];
  expect(execFileSync("sh", ["-c", command]).toString()).toContain("docker: not found");
  expect(readFileSync(failureNote.file, "utf8")).toBe(failureNote.content);
  expect(await exec("cat", "/etc/apt/sources.list.d/debian.sources")).toContain(
    "URIs: http://127.0.0.1:9/debian-security",
  );
}, 180_000);

describe("an ssh failure is reported at once, with the host and the command to try", () => {
  const failure = async (sshOpts: readonly string[]): Promise<string> => {
    const started = Date.now();
    const error = await engineProvider.create({ host: machine.host, sshOpts }).then(
      () => new Error("it was let in"),
      (reason: unknown) => reason as Error,
    );
    expect(Date.now() - started).toBeLessThan(10_000);
    return error.message;
  };
  const known = (folder: string) => ["-o", `UserKnownHostsFile=${join(folder, "known_hosts.%h")}`];

  test("an unknown key", async () => {
    const other = writeKey(join(machine.folder, "other"), generateKey("stranger").privateKey);
    const opts = ["-F", "none", "-i", other, "-o", "IdentitiesOnly=yes", ...known(machine.folder)];
    const message = await failure(opts);
    expect(message).toContain(`Docker at ${machine.host} cannot be reached (ssh: `);
    expect(message).toContain("Permission denied");
    expect(message).toContain(`See what this says: ssh ${opts.join(" ")} ${machine.host} docker info`);
  });

  test.each([
    ["an unverified host key", undefined],
    ["another host key than the known one", "stranger"],
  ])("%s", async (_, comment) => {
    const folder = join(machine.folder, comment ?? "nobody");
    if (comment !== undefined) writeKnownHost(folder, machine.address, generateKey(comment).publicKey);
    const message = await failure(["-F", "none", "-i", machine.key, ...known(folder)]);
    expect(message).toContain(`Docker at ${machine.host} cannot be reached`);
    expect(message).toContain("Host key verification failed");
  });

  test("an unreachable machine", async () => {
    const host = "ssh://switchyard@127.0.0.1:9";
    await expect(engineProvider.create({ host, timeoutSeconds: 1 })).rejects.toThrow(
      /Docker at ssh:\/\/switchyard@127.0.0.1:9 did not answer within 1 s .*Connection refused.*: ssh .*docker info/,
    );
  });
});
