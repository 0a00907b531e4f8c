import { createHash, generateKeyPairSync } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../../providers/dynamic-resource";

import type { KeyPair } from "./cloud-init";
import { hasFailed, removeKey } from "./ssh-files";

interface SshKeyInputs {
  readonly comment: string;
}

interface SshKeyState extends SshKeyInputs, KeyPair {}

/** A string in the SSH protocol's encoding: its length, then its bytes. */
function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Generates an Ed25519 key pair in OpenSSH's format (PROTOCOL.key in its sources), which every version reads. */
export function generateKey(comment: string): KeyPair {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const publicBytes = Buffer.from(x, "base64url");
  const blob = Buffer.concat([field("ssh-ed25519"), field(publicBytes)]);
  const check = createHash("sha256").update(blob).digest().subarray(0, 4);
  const secret = Buffer.concat([
    check,
    check,
    blob,
    field(Buffer.concat([Buffer.from(d, "base64url"), publicBytes])),
    field(comment),
  ]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (secret.length % 8)) % 8));
  const one = Buffer.from([0, 0, 0, 1]);
  const all = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    field("none"),
    field("none"),
    field(""),
    one,
    field(blob),
    field(Buffer.concat([secret, padding])),
  ]);
  const body = all.toString("base64").match(/.{1,70}/g) ?? [];
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.join("\n")}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `ssh-ed25519 ${blob.toString("base64")} ${comment}`,
  };
}

export const sshKeyProvider: pulumi.dynamic.ResourceProvider<SshKeyInputs, SshKeyState> = {
  create(inputs) {
    const key = generateKey(inputs.comment);
    const id = createHash("sha256").update(key.publicKey).digest("hex").slice(0, 16);
    return Promise.resolve({ id, outs: { ...inputs, ...key } });
  },
  // A changed comment does not need a new key. A machine that could not set itself up needs one: with its host key, the machine
  // is replaced.
  diff(_id, { publicKey }) {
    const failed = hasFailed(publicKey);
    return Promise.resolve({ changes: failed, replaces: failed ? ["publicKey"] : [] });
  },
  delete(_id, key) {
    removeKey(key);
    return Promise.resolve();
  },
};

/** An Ed25519 key pair for SSH, generated once and kept in the stack's state, with the private key as a secret. */
export class SshKey extends DynamicResource {
  declare readonly privateKey: pulumi.Output<string>;
  declare readonly publicKey: pulumi.Output<string>;

  constructor(name: string, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "sshKeyProvider" },
      name,
      { comment: name, privateKey: undefined, publicKey: undefined },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ["privateKey"] }),
      "SshKey",
    );
  }
}
