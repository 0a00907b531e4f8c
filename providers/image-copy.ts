import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "./dynamic-resource";
import type Docker from "dockerode";
import { api, connect, sameSsh, unless } from "./client";

export interface ImageCopyArgs {
  /** The image, by a name with the same content everywhere. */
  readonly image: pulumi.Input<string>;
  /** The Docker URL of the engine that has it. */
  readonly from: pulumi.Input<string>;
  /** The Docker URL of the engine that needs it. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
}

interface ImageCopyInputs {
  readonly image: string;
  readonly from: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
}

interface ImageCopyState extends ImageCopyInputs {
  /** Whether the image was copied; false if the engine already had it. */
  readonly sent: boolean;
}

/** The image's ID on an engine; undefined if the engine does not have it. */
async function imageId(docker: Docker, image: string): Promise<string | undefined> {
  const found = await unless([404], api<{ Id: string }>(docker, "GET", `/images/${image}/json`));
  return found?.Id;
}

export const imageCopyProvider: pulumi.dynamic.ResourceProvider<ImageCopyInputs, ImageCopyState> = {
  async create(inputs) {
    const { image, from, host, sshOpts } = inputs;
    // No time limit: an image may be large.
    const options = { answerTimeoutMs: 0, sshOpts };
    const [source, target] = [connect(from, options), connect(host, options)];
    if ((await imageId(target, image)) !== undefined) return { id: image, outs: { ...inputs, sent: false } };
    if ((await imageId(source, image)) === undefined) {
      throw new Error(
        `The node at ${host} needs the image ${image}, but the Docker Engine at ${from} does not have it: run script/bootstrap`,
      );
    }
    const stream = await source.getImage(image).get();
    const answer = await target.loadImage(stream, { quiet: true });
    await new Promise((resolve, reject) => {
      answer.once("end", resolve).once("error", reject).resume();
    });
    if ((await imageId(target, image)) === undefined) {
      throw new Error(`The image ${image} did not arrive at ${host}: check the disk space there`);
    }
    return { id: image, outs: { ...inputs, sent: true } };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of an ImageCopy (${id}) is not supported`);
    return { id: (await imageId(connect(props.host, props), props.image)) === undefined ? "" : id, props };
  },
  diff(_id, olds, news) {
    const replaces = (["image", "host"] as const).filter((key) => olds[key] !== news[key]);
    return Promise.resolve({ changes: replaces.length > 0 || !sameSsh(olds, news), replaces });
  },
  update(_id, olds, news) {
    return Promise.resolve({ outs: { ...olds, ...news } });
  },
  async delete(_id, { image, host, sshOpts, sent }) {
    // 409: something on the node still uses the image.
    if (sent) await unless([404, 409], api(connect(host, { sshOpts }), "DELETE", `/images/${image}`));
  },
};

/** Copies an image from one engine to another without a registry. */
export class ImageCopy extends DynamicResource {
  constructor(name: string, args: ImageCopyArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "imageCopyProvider" },
      name,
      { ...args, sent: undefined },
      opts,
      "ImageCopy",
    );
  }
}
