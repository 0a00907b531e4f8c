import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

import { outputOf, run, type RunResult } from "../../lib/run";
import { baseImage } from "../e2e/bases";
import { docker, removeContainers } from "../e2e/docker";
import { scratch } from "../e2e/scratch";
import { afterwards } from "../e2e/tear-down";

/** VirtualBox, which only Debian's sid has, and QEMU; libarchive is for `mke2fs -d` with an archive. */
const dockerfile = `
FROM ${baseImage}
RUN archive=$(grep -rhoE 'https?://[^ ]+' /etc/apt/sources.list /etc/apt/sources.list.d | head -n 1) \\
 && echo "deb [check-valid-until=no] $archive sid main contrib" >/etc/apt/sources.list.d/sid.list \\
 && apt-get update \\
 && apt-get install -y --no-install-recommends \\
      virtualbox qemu-system-x86 qemu-utils iproute2 socat e2fsprogs libarchive13t64 \\
 && rm -rf /var/lib/apt/lists/*
ENV HOME=/tmp LC_ALL=C.UTF-8
CMD ["sleep", "infinity"]
`;

export const container = "e2e-virtualbox";
const timeoutMs = 300_000;

/** Whether the kernel can run machines. Without the processor's support, which the second check looks for, its driver is of no use. */
export const hasKvm = existsSync("/dev/kvm") && /\b(?:vmx|svm)\b/.test(readFileSync("/proc/cpuinfo", "utf8"));

/**
 * Starts a container with real VBoxManage, which starts no machine without its kernel driver, and QEMU, which does. It has the
 * folders at the same paths, and runs until `tearDown`.
 *
 * @param network as for `docker run --network`
 */
export async function startContainer(
  folders: readonly string[],
  network: "host" | "bridge" = "bridge",
): Promise<void> {
  const { path: context } = scratch();
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  const image = "switchyard-e2e/virtualbox";
  await docker("build", "-q", "-t", image, context);
  const { uid, gid } = userInfo();
  const volumes = folders.flatMap((folder) => ["-v", `${folder}:${folder}`]);
  await docker(
    ...["run", "-d", "--init", "--name", container, "--user", `${uid}:${gid}`, ...volumes],
    ...["--network", network, "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun"],
    ...(hasKvm ? ["--device", "/dev/kvm"] : []),
    image,
  );
  afterwards(() => removeContainers(container));
}

/** Runs a program to its end in the container, in this process's folder, of which it must have a part. */
export const runInContainer = (...args: readonly string[]): Promise<RunResult> =>
  run("docker", ["exec", "-w", process.cwd(), container, ...args], { timeoutMs });

/** Runs a program in the container that must succeed. Returns its output. */
export const inContainer = (...args: readonly string[]): Promise<string> =>
  outputOf("docker", ["exec", container, ...args], { timeoutMs, label: args.join(" ") });

/** Changes the container's network, which only root may. */
export const ip = (command: string): Promise<string> =>
  docker("exec", "-u", "0", container, "ip", ...command.split(" "));
