import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import {
  installCloudInit,
  metadataAddress,
  readyFile,
  user,
  userData,
} from "../../components/nodes/cloud-init";
import { writeKey, writeKnownHost } from "../../components/nodes/ssh-files";
import { generateKey } from "../../components/nodes/ssh-key";
import { engineProvider } from "../../providers/engine";
import { baseImage } from "../e2e/bases";
import { docker } from "../e2e/docker";
import { scratch } from "../e2e/scratch";
import { outputOf } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { container, ip, startContainer } from "./container";
import { drive, Guest, kernel, makeSystem, type System } from "./guest";

// A machine as on Compute Engine: Debian with Google's guest agent and without cloud-init, run by QEMU, beside a metadata service.

/** The equivalent of Google's image. */
const dockerfile = `
FROM ${baseImage}
RUN apt-get update \\
 && apt-get install -y --no-install-recommends \\
      systemd systemd-sysv dbus openssh-server google-guest-agent iproute2 ca-certificates e2fsprogs \\
 && : >/etc/machine-id
${kernel}
RUN printf 'network: { version: 2, ethernets: { all: { match: { name: "e*" }, dhcp4: true } } }' >/etc/netplan/90-default.yaml \\
 && chmod 600 /etc/netplan/90-default.yaml \\
 && echo 'w+ /etc/hosts - - - - ${metadataAddress} metadata.google.internal\\n' >/etc/tmpfiles.d/metadata.conf
`;
const { path: folder } = scratch();
const login = generateKey("e2e");
const hostKey = generateKey("e2e-host");
const metadata = {
  instance: {
    id: 1,
    name: "node-1",
    hostname: "node-1.c.e2e.internal",
    zone: "projects/1/zones/europe-west1-b",
    attributes: {
      "startup-script": installCloudInit(),
      "user-data": userData({ name: "node-1", authorizedKey: login.publicKey, hostKey }),
      "enable-oslogin": "FALSE",
      "block-project-ssh-keys": "TRUE",
    },
  },
  // As in JSON. In paths, these names have dashes, but nobody asks for them.
  project: { projectId: "e2e", numericProjectId: 1, attributes: {} },
};

/** Answers as the metadata service does: a value, a list of names, or with `recursive` all that is below a path. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://metadata");
  const keys = pathname.split("/").filter((key) => key !== "");
  const found = keys
    .slice(2)
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], metadata);
  // Nothing ever changes.
  if (searchParams.has("wait_for_change") && searchParams.get("last_etag") === "1") await sleep(30_000);
  response.setHeader("Metadata-Flavor", "Google").setHeader("ETag", "1");
  if (request.headers["metadata-flavor"] !== "Google") response.writeHead(403).end();
  else if (found === undefined) response.writeHead(404).end();
  else if (typeof found === "string" || typeof found === "number") response.end(String(found));
  else if (searchParams.get("recursive")?.toLowerCase() === "true") response.end(JSON.stringify(found));
  else response.end(Object.keys(found as object).join("\n"));
}

/** Forwards a port of the container. */
const forward = (listen: string, to: string): Promise<string> =>
  docker("exec", "-d", "-u", "0", container, "socat", `TCP-LISTEN:${listen},fork,reuseaddr`, to);

/** Serves the metadata at its address in the container. */
async function serveMetadata(): Promise<void> {
  const socket = join(folder, "metadata");
  const server = createServer((request, response) => void answer(request, response)).listen(socket);
  afterwards(() => {
    server.close();
    server.closeAllConnections();
  });
  await ip(`addr add ${metadataAddress}/32 dev lo`);
  await forward(`80,bind=${metadataAddress}`, `UNIX-CONNECT:${socket}`);
}

/**
 * The machine's port 22 on the container's loopback. QEMU keeps the addresses of other clients, and the host's is also that of the
 * machine's own Docker bridge, so replies would never leave the machine.
 */
const sshPort = 2222;

let system: System;
let guest: Guest;
let engine: Parameters<typeof engineProvider.create>[0];

function boot(): Promise<Guest> {
  return Guest.start(system, [
    ...["-smp", "2", "-m", "2048", ...drive(0, "hd", "raw", system.disk)],
    ...[
      "-netdev",
      `user,id=net,hostfwd=tcp:127.0.0.1:${sshPort}-:22`,
      "-device",
      "virtio-net-pci,netdev=net",
    ],
    // By which cloud-init knows that there is a metadata service.
    ...["-smbios", "type=1,manufacturer=Google,product=Google Compute Engine"],
  ]);
}

/** Runs a command on the machine. */
const ssh = (...command: string[]): Promise<string> =>
  outputOf("ssh", ...(engine.sshOpts ?? []), engine.host, ...command);

beforeAll(async () => {
  await startContainer([folder]);
  await serveMetadata();
  await forward("22", `TCP:127.0.0.1:${sshPort}`);
  system = await makeSystem(folder, dockerfile);
  const address = await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", container);
  writeKnownHost(folder, address, hostKey.publicKey);
  const key = writeKey(folder, login.privateKey);
  const known = `UserKnownHostsFile=${join(folder, "known_hosts.%h")}`;
  engine = {
    host: `ssh://${user}@${address}`,
    sshOpts: ["-F", "none", "-i", key, "-o", known],
    readyFile,
    timeoutSeconds: 1200,
  };
  guest = await boot();
}, 900_000);
afterAll(tearDown);

test("the start script sets up a machine that has only Google's guest agent", async () => {
  const { outs } = await engineProvider.create(engine);
  expect(outs).toMatchObject({ bridgeAddress: expect.stringMatching(/^172\./) as string });
  expect(await ssh("cloud-init", "status", "--long")).toContain("recoverable_errors: {}");
  expect(await ssh("hostname")).toBe("node-1");
});

test("another boot changes nothing", async () => {
  const before = await ssh("stat", "-c", "%Y", readyFile);
  await guest.shutDown();
  guest = await boot();
  await engineProvider.create(engine);
  expect(await ssh("stat", "-c", "%Y", readyFile)).toBe(before);
  expect(await ssh("cloud-init", "status", "--long")).toContain("recoverable_errors: {}");
});
