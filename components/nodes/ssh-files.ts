import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import { configError } from "../schema";

/** What `ssh` needs to reach the machines that a stack made. */
export interface SshFiles {
  /** Folder of the stack, from the project's own: the same path on every machine that works on the stack. */
  readonly folder: string;
  /** File of the private key. */
  readonly key: string;
}

/** Where the files of a stack are; git ignores them. */
export function sshFolder(stack: string): string {
  return join(".switchyard", "ssh", stack);
}

/**
 * The options of `ssh` for all machines of a stack: one key, and none but the host keys that we chose ourselves. Each
 * machine's is in a file called after its address.
 */
export function sshOptions({ folder, key }: SshFiles): string[] {
  const options = [
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=yes",
    "HostKeyAlgorithms=ssh-ed25519",
    `UserKnownHostsFile=${join(folder, "known_hosts.%h")}`,
    "GlobalKnownHostsFile=/dev/null",
    "ServerAliveInterval=15",
  ];
  return ["-i", key, ...options.flatMap((option) => ["-o", option])];
}

/** Writes the private key of the stack; returns its file. */
export function writeKey(folder: string, privateKey: string): string {
  const file = join(folder, "id_ed25519");
  writePrivate(file, privateKey);
  return file;
}

/** Writes the host key that the machine at the address has to show. */
export function writeKnownHost(folder: string, address: string, publicKey: string): void {
  writePrivate(join(folder, `known_hosts.${address}`), `${address} ${publicKey}\n`);
}

function writePrivate(file: string, content: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === content) return;
  mkdirSync(join(file, ".."), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}.tmp`;
  writeFileSync(beside, content, { mode: 0o600 });
  renameSync(beside, file);
}

/**
 * The public key that belongs to a private key of the user's own.
 *
 * @throws UserError if it is not beside it
 */
export function publicKeyOf(privateKeyFile: string): string {
  const file = `${privateKeyFile.replace(/^~(?=\/)/, homedir())}.pub`;
  let content: string;
  try {
    content = readFileSync(file, "utf8").trim();
  } catch {
    const cure = `ssh-keygen -y -f ${privateKeyFile} > ${privateKeyFile}.pub`;
    throw configError("sshKey", `is ${privateKeyFile}, but ${file} cannot be read`, `write it: ${cure}`);
  }
  if (!/^(?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]+(?: [^\n]*)?$/.test(content)) {
    throw configError("sshKey", `is ${privateKeyFile}, but ${file} holds no public key`, "write it anew");
  }
  return content;
}
