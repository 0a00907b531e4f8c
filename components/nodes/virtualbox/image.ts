import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import * as pulumi from "@pulumi/pulumi";

interface ImageInputs {
  readonly url: string;
  readonly sha512: string;
}

interface ImageState extends ImageInputs {
  readonly disk: string;
}

/** Runs a program by its arguments, without a shell; an error says what it complained of. */
export function run(program: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let complaint = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
    child.on("error", (error: NodeJS.ErrnoException) => {
      const missing = { VBoxManage: "VirtualBox 7.0 or later", "qemu-img": "qemu-utils" }[program];
      reject(
        error.code === "ENOENT" ? new Error(`There is no ${program}: install ${missing ?? program}`) : error,
      );
    });
    child.on("close", (code) => {
      const [reason] = complaint.split("\n").filter((line) => line.includes("error:"));
      if (code === 0) resolve(output);
      else reject(new Error(`${program} ${args.slice(0, 2).join(" ")}: ${reason ?? complaint.trim()}`));
    });
  });
}

async function sha512(file: string): Promise<string> {
  const hash = createHash("sha512");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** Downloads and converts the image, unless that was done before; what is not as promised is thrown away. */
async function fetchDisk({ url, sha512: promised }: ImageInputs): Promise<string> {
  const folder = join(".switchyard", "images");
  mkdirSync(folder, { recursive: true });
  const disk = join(folder, `${promised.slice(0, 16)}.vdi`);
  if (existsSync(disk)) return disk;
  const source = `${disk}.qcow2`;
  try {
    const response = await fetch(url);
    if (!response.ok || response.body === null) throw new Error(`${url} answers ${response.status}`);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(source));
    const found = await sha512(source);
    if (found !== promised) {
      throw new Error(`${url} is not what it was: its SHA-512 is ${found}, not ${promised}`);
    }
    await run("qemu-img", "convert", "-O", "vdi", source, `${disk}.part`);
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
  delete(_id, { disk }) {
    rmSync(disk, { force: true });
    return Promise.resolve();
  },
};

/** An image in QCOW2 format, of known content, as a disk of VirtualBox's own format under `.switchyard/images/`. */
export class VirtualBoxImage extends pulumi.dynamic.Resource {
  /** File of the disk, from the project's folder. */
  declare readonly disk: pulumi.Output<string>;

  constructor(
    name: string,
    args: { readonly url: string; readonly sha512: string },
    opts?: pulumi.CustomResourceOptions,
  ) {
    super(imageProvider, name, { ...args, disk: undefined }, opts, "switchyard", "VirtualBoxImage");
  }
}
