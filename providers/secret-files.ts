import { posix } from "node:path";
import { Readable } from "node:stream";
import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import tar from "tar-fs";
import { canonical } from "../lib/values";
import { api, connect, sameSsh, unless } from "./client";
import { find, remove } from "./containers";
import { DynamicResource } from "./dynamic-resource";
import { OWNER_LABEL, ownerOf, stackOwner } from "./owner";

export interface SecretFilesArgs {
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The volume's name. */
  readonly volume: pulumi.Input<string>;
  /** An image that the node has or can pull: a container of it, which is never started, takes the files to the volume. */
  readonly image: pulumi.Input<string>;
  /** The contents, by path in the volume. A file that is no longer listed becomes empty. */
  readonly files: pulumi.Input<Record<string, string>>;
  /** The user, and the group, that the files belong to. Default: 0. */
  readonly user?: pulumi.Input<number> | undefined;
}

interface FilesInputs {
  /** The stack. */
  readonly owner?: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly volume: string;
  readonly image: string;
  readonly files: Readonly<Record<string, string>>;
  readonly user?: number;
}

/** An archive of the files, readable by their owner only, and of the folders that they are in. */
function archiveOf({ files, user = 0 }: FilesInputs): Readable {
  const common = { uid: user, gid: user, mtime: new Date(0) };
  const folders = new Set([".", ...Object.keys(files).map((path) => posix.dirname(path))]);
  const archive = tar.pack(".", {
    entries: [],
    finalize: false,
    finish(pack) {
      for (const name of folders) pack.entry({ name: `${name}/`, type: "directory", mode: 0o700, ...common });
      for (const [name, content] of Object.entries(files))
        pack.entry({ name, mode: 0o600, ...common }, content);
      pack.finalize();
    },
  });
  return Readable.from(archive);
}

const FOLDER = "/secrets";

/** Writes the files. Docker puts an archive into a volume only by way of a container that mounts it. */
async function write(docker: Docker, inputs: FilesInputs): Promise<void> {
  const { image, volume } = inputs;
  const name = `${volume}-writer`;
  const left = await find(docker, name);
  if (left?.Config.Labels?.[OWNER_LABEL] === ownerOf(inputs)) await remove(docker, left.Id);
  const create = () =>
    api<{ Id: string }>(docker, "POST", "/containers/create", {
      query: { name },
      body: {
        Image: image,
        Entrypoint: ["none"],
        Labels: { [OWNER_LABEL]: ownerOf(inputs), SERVICE_IGNORE: "true" },
        HostConfig: { Binds: [`${volume}:${FOLDER}`], NetworkMode: "none" },
      },
    });
  const pull = async () => {
    const fromImage = /[:@][^/]+$/.test(image) ? image : `${image}:latest`;
    await api(docker, "POST", "/images/create", { query: { fromImage } });
    return create();
  };
  const { Id } = (await unless([404], create())) ?? (await pull());
  try {
    await docker.getContainer(Id).putArchive(archiveOf(inputs), { path: FOLDER });
  } finally {
    await remove(docker, Id);
  }
}

export const secretFilesProvider: pulumi.dynamic.ResourceProvider<FilesInputs, FilesInputs> = {
  async create(inputs) {
    await write(connect(inputs.host, inputs), inputs);
    return { id: inputs.volume, outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of SecretFiles (${id}) is not supported`);
    const docker = connect(props.host, props);
    const found = await unless([404], api<unknown>(docker, "GET", `/volumes/${props.volume}`));
    return { id: found === undefined ? "" : id, props };
  },
  diff(_id, olds, news) {
    const replaces = olds.volume === news.volume ? [] : ["volume"];
    // The image only carries the files.
    const contents = ({ host, files, user }: FilesInputs) => canonical([host, files, user]);
    const changes = replaces.length > 0 || contents(olds) !== contents(news) || !sameSsh(olds, news);
    return Promise.resolve({ changes, replaces });
  },
  async update(_id, olds, news) {
    // An archive removes nothing: former files become empty.
    const former = Object.fromEntries(Object.keys(olds.files).map((path) => [path, ""]));
    await write(connect(news.host, news), { ...news, files: { ...former, ...news.files } });
    return { outs: news };
  },
};

/**
 * Files in a Docker volume that only their owner can read. In this way, a container's secrets are not in its definition,
 * which everyone who can use Docker sees, and they can change without a new container.
 */
export class SecretFiles extends DynamicResource {
  constructor(name: string, args: SecretFilesArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { ...args, owner: stackOwner() };
    super({ file: __filename, provider: "secretFilesProvider" }, name, props, opts, "SecretFiles");
  }
}
