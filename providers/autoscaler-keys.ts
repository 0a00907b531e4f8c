import * as pulumi from "@pulumi/pulumi";
import { messageOf } from "../lib/errors";
import { connect, sameSsh } from "./client";
import { DynamicResource } from "./dynamic-resource";
import { execIn } from "./exec";

export interface AutoscalerKeysArgs {
  /** The Docker URL of a node with Consul. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The name of Consul's container, whose CLI has a token that writes keys. */
  readonly container: pulumi.Input<string>;
}

interface Inputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly container: string;
}

/** Where the autoscaler writes. The records keep the routes of services that sleep, which nobody wakes without it. */
const prefixes = ["service/haproxy/sleeping/", "service/autoscaler/"];

export const autoscalerKeysProvider: pulumi.dynamic.ResourceProvider<Inputs, Inputs> = {
  create: (inputs) => Promise.resolve({ id: "keys", outs: inputs }),
  diff: (_id, olds, news) =>
    Promise.resolve({
      changes: olds.host !== news.host || olds.container !== news.container || !sameSsh(olds, news),
    }),
  update: (_id, _olds, news) => Promise.resolve({ outs: news }),
  async delete(_id, inputs) {
    const docker = connect(inputs.host, inputs);
    try {
      for (const prefix of prefixes)
        await execIn(docker, inputs.container, ["consul", "kv", "delete", "-recurse", prefix]);
    } catch (error) {
      // A stack whose Consul does not answer must be removable.
      console.warn(
        `The autoscaler's keys are left in Consul: ${messageOf(error)}. ` +
          `Remove them once Consul answers: docker exec ${inputs.container} consul kv delete -recurse ${prefixes[0] ?? ""}`,
      );
    }
  },
};

/** What the autoscaler has written into Consul's KV store. Deleting it removes all of it. */
export class AutoscalerKeys extends DynamicResource {
  constructor(name: string, args: AutoscalerKeysArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "autoscalerKeysProvider" },
      name,
      { ...args },
      opts,
      "AutoscalerKeys",
    );
  }
}
