import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

import type { FailureNote } from "../../providers/first-boot";
import { configError } from "../schema";
import type { KeyPair } from "./cloud-init";

/** The files that `ssh` needs to reach the machines that a stack created. */
export interface SshFiles {
  /** The stack's folder, relative to the project's, so that it is the same on every computer that works on the stack. */
  readonly folder: string;
  /** File of the private key. */
  readonly key: string;
}

const sshFolders = join(".switchyard", "ssh");

/** The folder of a stack's files, which git ignores. */
export function sshFolder(stack: string): string {
  return join(sshFolders, stack);
}

/**
 * Options of `ssh` for all machines of a stack: one key, and only the host keys that the stack generated. Each machine's
 * host key is in a file named after its address.
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

/** Writes the stack's private key and returns the file's path. */
export function writeKey(folder: string, privateKey: string): string {
  const file = join(folder, "id_ed25519");
  writePrivate(file, privateKey);
  return file;
}

/**
 * Writes the host key that the machine at the address must present. The key before it stays valid, because the old machine is
 * still asked while it is replaced; {@link removeKey} removes it.
 */
export function writeKnownHost(folder: string, address: string, publicKey: string): void {
  const file = join(folder, `known_hosts.${address}`);
  const line = `${address} ${publicKey}`;
  const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  if (!lines.includes(line)) writePrivate(file, `${[...lines.slice(-1), line].join("\n")}\n`);
}

/** The command that replaces the machine of a node, by its host key. */
export const replacing = (name: string): string => `script/up --replace '**SshKey::${name}-host'`;

/** The note that the machine with this host key could not set itself up. It goes with the key. */
export function failureNote(folder: string, name: string, publicKey: string): FailureNote {
  return {
    file: join(folder, `failed.${name}`),
    content: `failed ${publicKey}\n`,
    command: replacing(name),
  };
}

/** Whether there is such a note. */
export function hasFailed(publicKey: string): boolean {
  return filesWithKeys().some(
    (file) => readFileSync(file, "utf8") === failureNote("", "", publicKey).content,
  );
}

/** Removes the files with this private key, the lines with this public key, and the files and folders that are then empty. */
export function removeKey({ privateKey, publicKey }: KeyPair): void {
  for (const file of filesWithKeys()) {
    const content = readFileSync(file, "utf8");
    const others = content.split("\n").filter((line) => line !== "" && !line.endsWith(` ${publicKey}`));
    if (content === privateKey || others.length === 0) rmSync(file);
    else if (content.includes(` ${publicKey}\n`)) writePrivate(file, `${others.join("\n")}\n`);
    if (readdirSync(dirname(file)).length === 0) rmdirSync(dirname(file));
  }
}

function filesWithKeys(): string[] {
  if (!existsSync(sshFolders)) return [];
  return readdirSync(sshFolders, { recursive: true, encoding: "utf8" })
    .map((entry) => join(sshFolders, entry))
    .filter((file) => statSync(file).isFile());
}

function writePrivate(file: string, content: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === content) return;
  mkdirSync(join(file, ".."), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}.tmp`;
  writeFileSync(beside, content, { mode: 0o600 });
  renameSync(beside, file);
}

/**
 * Reads the public key of the user's private key.
 *
 * @throws UserError if there is no valid `.pub` file beside the private key
 */
export function publicKeyOf(privateKeyFile: string): string {
  const file = `${privateKeyFile.replace(/^~(?=\/)/, homedir())}.pub`;
  const cure = `ssh-keygen -y -f ${privateKeyFile} > ${privateKeyFile}.pub`;
  let content: string;
  try {
    content = readFileSync(file, "utf8").trim();
  } catch {
    throw configError("sshKey", `is ${privateKeyFile}, but ${file} cannot be read`, `create it: ${cure}`);
  }
  if (!/^(?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]+(?: [^\n]*)?$/.test(content)) {
    throw configError(
      "sshKey",
      `is ${privateKeyFile}, but ${file} is not a public key`,
      `create it again: ${cure}`,
    );
  }
  return content;
}
