import * as pulumi from "@pulumi/pulumi";
import { loginFor, registryOf, type Logins } from "../lib/credentials";
import { pullImage } from "../lib/images";
import { api, connect, sameSsh, unless } from "./client";
import { DynamicResource } from "./dynamic-resource";

export interface ImagePullArgs {
  /** The image, by its digest in a registry. */
  readonly image: pulumi.Input<string>;
  /** The Docker URL of the engine that needs it, with options of `ssh`. */
  readonly host: pulumi.Input<string>;
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** Logins for registries, beside those of `docker login`. */
  readonly logins?: pulumi.Input<Logins> | undefined;
}

interface PullInputs {
  readonly image: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly logins?: Logins;
}

async function pull(inputs: PullInputs): Promise<void> {
  const { image, host, sshOpts, logins } = inputs;
  if (await has(inputs)) return;
  // No time limit: an image may be large.
  const docker = connect(host, { answerTimeoutMs: 0, sshOpts });
  await pullImage(docker, image, await loginFor(registryOf(image), logins));
}

async function has({ image, host, sshOpts }: PullInputs): Promise<boolean> {
  const found = await unless([404], api(connect(host, { sshOpts }), "GET", `/images/${image}/json`));
  return found !== undefined;
}

export const imagePullProvider: pulumi.dynamic.ResourceProvider<PullInputs, PullInputs> = {
  async create(inputs) {
    await pull(inputs);
    return { id: inputs.image, outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of an ImagePull (${id}) is not supported`);
    return { id: (await has(props)) ? id : "", props };
  },
  diff(_id, olds, news) {
    const changed = olds.image !== news.image || olds.host !== news.host;
    return Promise.resolve({ changes: changed || !sameSsh(olds, news) });
  },
  async update(_id, _olds, news) {
    await pull(news);
    return { outs: news };
  },
  // Another stack or an instance may use it.
  delete: () => Promise.resolve(),
};

/** An image that a node pulls from a registry. */
export class ImagePull extends DynamicResource {
  /** The image, once the node has it. */
  declare readonly image: pulumi.Output<string>;

  constructor(name: string, args: ImagePullArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "imagePullProvider" }, name, { ...args }, opts, "ImagePull");
  }
}
