import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { AptSettings } from "../../components/nodes/apt-settings";
import { metaData, user, userData } from "../../components/nodes/cloud-init";
import { writeKey, writeKnownHost } from "../../components/nodes/ssh-files";
import { generateKey } from "../../components/nodes/ssh-key";
import { baseImage } from "./bases";
import { docker, removeContainers } from "./docker";
import { scratch } from "./scratch";
import { afterwards } from "./tear-down";

/**
 * The equivalent of a cloud image: Debian with systemd, sshd and cloud-init, and nothing of ours. Here it runs as a container.
 * The kernel arguments make systemd of Debian 13 accept a kernel with version 1 cgroups.
 */
export const machineDockerfile = `
FROM ${baseImage}
RUN apt-get update \\
 && apt-get install -y --no-install-recommends systemd systemd-sysv dbus openssh-server cloud-init e2fsprogs iproute2 ca-certificates \\
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* && : >/etc/machine-id
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init", "systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
`;

/** The rights that systemd and a nested Docker Engine need. --privileged would grant far more. */
const rights = [
  ...[
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "DAC_READ_SEARCH",
    "AUDIT_CONTROL",
    "IPC_LOCK",
    "SYS_NICE",
  ].flatMap((capability) => ["--cap-add", capability]),
  ...["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"].flatMap((option) => [
    "--security-opt",
    option,
  ]),
  ...["--device-cgroup-rule", "a *:* rwm", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"],
  ...["--tmpfs", "/run", "--tmpfs", "/tmp", "-v", "/var/lib/docker"],
];

/** A machine that boots with our user-data, with everything needed to reach it. */
export interface TestMachine {
  readonly host: string;
  readonly address: string;
  readonly folder: string;
  /** Path of the private key that it accepts. */
  readonly key: string;
  /** Options for `ssh` that trust only its host key. */
  readonly sshOpts: readonly string[];
  /** Runs a command on it as root, without ssh. */
  readonly exec: (...command: string[]) => Promise<string>;
}

/** Starts a machine, which runs until `tearDown`, with packages from Debian's archive or the given one. */
export async function startMachine(name: string, apt?: AptSettings): Promise<TestMachine> {
  const { path: folder } = scratch();
  const login = generateKey("e2e");
  const hostKey = generateKey("e2e-host");
  const seed = join(folder, "seed");
  const context = join(folder, "context");
  for (const path of [seed, context]) mkdirSync(path);
  writeFileSync(join(seed, "meta-data"), metaData(name));
  writeFileSync(join(seed, "user-data"), userData({ name, authorizedKey: login.publicKey, hostKey, apt }));
  writeFileSync(join(context, "Dockerfile"), machineDockerfile);
  await docker("build", "-q", "-t", "switchyard-e2e/machine", context);
  const noCloud = ["-v", `${seed}:/var/lib/cloud/seed/nocloud:ro`];
  await docker(
    "run",
    "-d",
    "--name",
    name,
    "--hostname",
    name,
    ...rights,
    ...noCloud,
    "switchyard-e2e/machine",
  );
  afterwards(() => removeContainers(name));

  const address = await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name);
  const key = writeKey(folder, login.privateKey);
  writeKnownHost(folder, address, hostKey.publicKey);
  const sshOpts = ["-F", "none", "-i", key, "-o", `UserKnownHostsFile=${join(folder, "known_hosts.%h")}`];
  return {
    host: `ssh://${user}@${address}`,
    address,
    folder,
    key,
    sshOpts,
    exec: (...command) => docker("exec", name, ...command),
  };
}

/** Returns a folder for PATH whose `ssh` behaves as if its user had configured it for the machine. */
export function configuredSsh({ folder, sshOpts }: TestMachine): string {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const ssh = execFileSync("sh", ["-c", "command -v ssh"]).toString().trim();
  writeFileSync(join(bin, "ssh"), `#!/bin/sh\nexec ${ssh} ${sshOpts.join(" ")} "$@"\n`);
  chmodSync(join(bin, "ssh"), 0o755);
  return bin;
}
