import { randomUUID } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../providers/dynamic-resource";

interface Token {
  readonly generation: number;
}

interface TokenState extends Token {
  readonly token: string;
  readonly previous: string;
}

export const randomTokenProvider: pulumi.dynamic.ResourceProvider<Token, TokenState> = {
  create({ generation }) {
    return Promise.resolve({ id: "token", outs: { generation, token: randomUUID(), previous: "" } });
  },
  diff(_id, olds, news) {
    return Promise.resolve({ changes: olds.generation !== news.generation });
  },
  update(_id, olds, { generation }) {
    return Promise.resolve({ outs: { generation, token: randomUUID(), previous: olds.token } });
  },
};

/** A random UUID, kept as a secret in the stack's state. Another generation is another UUID. */
export class RandomToken extends DynamicResource {
  declare readonly token: pulumi.Output<string>;
  /** That of the generation before; empty if there was none. */
  declare readonly previous: pulumi.Output<string>;

  constructor(
    name: string,
    { generation }: { readonly generation: number },
    opts?: pulumi.CustomResourceOptions,
  ) {
    const secret = { additionalSecretOutputs: ["token", "previous"] };
    super(
      { file: __filename, provider: "randomTokenProvider" },
      name,
      { generation, token: undefined, previous: undefined },
      pulumi.mergeOptions(opts, secret),
      "RandomToken",
    );
  }
}
