import { randomBytes } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { api, connect, unless } from "./client";
import { DynamicResource } from "./dynamic-resource";
import { OWNER_LABEL, ownerOf, stackOwner } from "./owner";
import { isManager } from "./swarm/engine";

export type FileKind = "secrets" | "configs";

export interface SwarmFileArgs {
  readonly kind: FileKind;
  /** The Docker URL of a manager of the Swarm, with options of `ssh`. */
  readonly host: pulumi.Input<string>;
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  readonly swarmId: pulumi.Input<string>;
  /** What its name begins with. */
  readonly prefix: pulumi.Input<string>;
  /** The content in base64. */
  readonly content: pulumi.Input<string>;
}

interface FileInputs {
  readonly owner?: string;
  readonly kind: FileKind;
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly swarmId: string;
  readonly prefix: string;
  readonly content: string;
}

interface FileState extends FileInputs {
  readonly fileName: string;
}

interface Stored {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Name: string; readonly Labels?: Readonly<Record<string, string>> | null };
}

/** On one that was to be removed while a service still used it, as after an update that was rolled back. */
const ORPHAN_LABEL = "switchyard.orphan";

/** Removes a secret or config unless a service uses it; then false. */
async function remove(docker: Docker, kind: FileKind, id: string): Promise<boolean> {
  let used = false;
  await unless(
    [404, 503],
    api(docker, "DELETE", `/${kind}/${id}`).catch((error: unknown) => {
      if (!/ in use /.test(String(error))) throw error;
      used = true;
    }),
  );
  return !used;
}

async function mark(docker: Docker, kind: FileKind, id: string): Promise<void> {
  const { Version, Spec } = await api<Stored>(docker, "GET", `/${kind}/${id}`);
  await api(docker, "POST", `/${kind}/${id}/update`, {
    query: { version: Version.Index },
    body: { ...Spec, Labels: { ...Spec.Labels, [ORPHAN_LABEL]: "true" } },
  });
}

/** Removes what {@link swarmFileProvider} could not remove, as far as no service uses it any more. */
export async function removeOrphans(docker: Docker, owner: string): Promise<void> {
  const query = { filters: { label: [`${OWNER_LABEL}=${owner}`, ORPHAN_LABEL] } };
  for (const kind of ["secrets", "configs"] as const)
    for (const { ID } of await api<Stored[]>(docker, "GET", `/${kind}`, { query }))
      await remove(docker, kind, ID);
}

export const swarmFileProvider: pulumi.dynamic.ResourceProvider<FileInputs, FileState> = {
  async create(inputs) {
    const { kind, prefix, content } = inputs;
    // Random and not a hash, from which a short secret could be guessed.
    const fileName = `${prefix}_${randomBytes(4).toString("hex")}`;
    const { ID: id } = await api<{ ID: string }>(connect(inputs.host, inputs), "POST", `/${kind}/create`, {
      body: { Name: fileName, Data: content, Labels: { [OWNER_LABEL]: ownerOf(inputs) } },
    });
    return { id, outs: { ...inputs, fileName } };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a SwarmFile (${id}) is not supported`);
    const docker = connect(props.host, props);
    const found = await unless([404, 503], api<Stored>(docker, "GET", `/${props.kind}/${id}`));
    return { id: found === undefined && (await isManager(docker)) ? "" : id, props };
  },
  diff(_id, olds, news) {
    // Swarm changes no content. The new one has another name, and the old one is removed once no service uses it.
    const replaces = (["kind", "prefix", "content", "swarmId", "owner"] as const).filter(
      (key) => olds[key] !== news[key],
    );
    return Promise.resolve({ changes: replaces.length > 0 || olds.host !== news.host, replaces });
  },
  update(_id, olds, news) {
    return Promise.resolve({ outs: { ...news, fileName: olds.fileName } });
  },
  async delete(id, props) {
    const docker = connect(props.host, props);
    if (!(await remove(docker, props.kind, id))) await mark(docker, props.kind, id);
  },
};

/** A secret or config of the Swarm, which services mount as a file. */
export class SwarmFile extends DynamicResource {
  /** Its name in the Swarm. */
  declare readonly fileName: pulumi.Output<string>;

  constructor(name: string, args: SwarmFileArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { ...args, owner: stackOwner(), fileName: undefined };
    super({ file: __filename, provider: "swarmFileProvider" }, name, props, opts, "SwarmFile");
  }
}
