import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../../../providers/dynamic-resource";

import { convertDisk } from "./command";
import { removeFiles } from "./machine";

interface ImageInputs {
  readonly url: string;
  readonly sha512: string;
}

interface ImageState extends ImageInputs {
  readonly disk: string;
}

async function sha512(file: string): Promise<string> {
  const hash = createHash("sha512");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** Downloads and converts the image if that has not been done. Rejects a download with another checksum. */
async function fetchDisk({ url, sha512: expected }: ImageInputs): Promise<string> {
  const folder = join(".switchyard", "images");
  mkdirSync(folder, { recursive: true });
  const disk = join(folder, `${expected.slice(0, 16)}.vdi`);
  if (existsSync(disk)) return disk;
  const source = `${disk}.qcow2`;
  try {
    const response = await fetch(url);
    if (!response.ok || response.body === null)
      throw new Error(`${url} returned the HTTP status ${response.status}`);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(source));
    const found = await sha512(source);
    if (found !== expected) {
      throw new Error(`${url} has changed: its SHA-512 is ${found}, not ${expected}`);
    }
    await convertDisk(source, `${disk}.part`);
    renameSync(`${disk}.part`, disk);
  } finally {
    rmSync(source, { force: true });
    rmSync(`${disk}.part`, { force: true });
  }
  return disk;
}

export const imageProvider: pulumi.dynamic.ResourceProvider<ImageInputs, ImageState> = {
  async create(inputs) {
    return { id: inputs.sha512.slice(0, 16), outs: { ...inputs, disk: await fetchDisk(inputs) } };
  },
  read(id, props) {
    if (props === undefined) throw new Error(`import of a VirtualBoxImage (${id}) is not supported`);
    return Promise.resolve({ id: existsSync(props.disk) ? id : "", props });
  },
  diff(_id, olds, news) {
    const replaces = olds.sha512 === news.sha512 ? [] : ["sha512"];
    return Promise.resolve({ changes: replaces.length > 0, replaces });
  },
  async delete(_id, { disk }) {
    // Earlier versions registered the disk in VirtualBox.
    await removeFiles(resolve(disk));
  },
};

/** A QCOW2 image with a known checksum, converted to a VirtualBox disk under `.switchyard/images/`. */
export class VirtualBoxImage extends DynamicResource {
  /** The disk's file, relative to the project's folder. */
  declare readonly disk: pulumi.Output<string>;

  constructor(
    name: string,
    args: { readonly url: string; readonly sha512: string },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(
      { file: __filename, provider: "imageProvider" },
      name,
      { ...args, disk: undefined },
      opts,
      "VirtualBoxImage",
    );
  }
}
