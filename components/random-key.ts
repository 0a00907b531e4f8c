import { randomBytes } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../providers/dynamic-resource";

interface Key {
  readonly bytes: number;
}

interface KeyState extends Key {
  readonly key: string;
}

export const randomKeyProvider: pulumi.dynamic.ResourceProvider<Key, KeyState> = {
  create({ bytes }) {
    return Promise.resolve({ id: "key", outs: { bytes, key: randomBytes(bytes).toString("base64") } });
  },
  diff(_id, olds, news) {
    return Promise.resolve({ changes: olds.bytes !== news.bytes, replaces: ["bytes"] });
  },
};

/** A random key, generated once and kept as a secret in the stack's state. */
export class RandomKey extends DynamicResource {
  /** In base64. */
  declare readonly key: pulumi.Output<string>;

  constructor(name: string, { bytes }: { readonly bytes: number }, opts?: pulumi.CustomResourceOptions) {
    const secret = { additionalSecretOutputs: ["key"] };
    super(
      { file: __filename, provider: "randomKeyProvider" },
      name,
      { bytes, key: undefined },
      pulumi.mergeOptions(opts, secret),
      "RandomKey",
    );
  }
}
