import * as pulumi from "@pulumi/pulumi";
import { canonical } from "../lib/values";
import { api, connect, sleep, unless, type DockerError } from "./client";
import { DynamicResource } from "./dynamic-resource";
import { OWNER_LABEL, ownerOf, stackOwner } from "./owner";

/** A node that may have volumes. */
export interface VolumeNode {
  readonly name: string;
  /** Its ID in the Swarm. */
  readonly id: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
}

/** Volumes that must be on the same node, because a service mounts them, or services that share one. */
export interface VolumeGroup {
  readonly volumes: readonly string[];
  /** The placement constraints of these services. */
  readonly constraints: readonly string[];
}

export interface NodeVolumesArgs {
  /** In the order in which they are tried. */
  readonly nodes: readonly {
    readonly [Key in keyof VolumeNode]: pulumi.Input<NonNullable<VolumeNode[Key]>>;
  }[];
  /** The Docker URL of a manager of the Swarm, with options of `ssh`. */
  readonly host: pulumi.Input<string>;
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  readonly groups: pulumi.Input<readonly VolumeGroup[]>;
}

interface VolumesInputs {
  readonly owner?: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly nodes: readonly VolumeNode[];
  readonly groups: readonly VolumeGroup[];
  /** The name of the node of each volume, as far as it is known. */
  readonly placed?: Readonly<Record<string, string>>;
}

/** The parts of a node that placement constraints may ask for. */
interface SwarmNode {
  readonly ID: string;
  readonly Spec: { readonly Role: string; readonly Labels?: Readonly<Record<string, string>> | null };
  readonly Description: {
    readonly Hostname: string;
    readonly Platform: { readonly OS: string; readonly Architecture: string };
    readonly Engine: { readonly Labels?: Readonly<Record<string, string>> | null };
  };
}

/** Removes volumes on delete, and their data. Set by `script/down --volumes`. */
export const REMOVE_VOLUMES = "SWITCHYARD_REMOVE_VOLUMES";

/** A preview must not wait long for a node that is down. */
const PREVIEW_TIMEOUT_MS = 10_000;
const IN_USE_TIMEOUT_MS = 30_000;

interface Volume {
  readonly Name: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

const volumeOn = (node: VolumeNode, name: string, answerTimeoutMs?: number): Promise<Volume | undefined> =>
  unless(
    [404],
    api<Volume>(
      connect(node.host, { ...node, ...(answerTimeoutMs && { answerTimeoutMs }) }),
      "GET",
      `/volumes/${name}`,
    ),
  );

/** Whether a node fits the constraints, which Swarm has checked for form. */
export function fits(node: SwarmNode, constraints: readonly string[]): boolean {
  return constraints.every((constraint) => {
    const [, key = "", operator, value = ""] = /^\s*(\S+?)\s*(==|!=)\s*(.*?)\s*$/.exec(constraint) ?? [];
    return (attribute(node, key).toLowerCase() === value.toLowerCase()) === (operator === "==");
  });
}

function attribute({ ID, Spec, Description }: SwarmNode, key: string): string {
  const { Hostname, Platform, Engine } = Description;
  const label = /^(node|engine)\.labels\.(.+)$/.exec(key);
  if (label !== null) return (label[1] === "node" ? Spec.Labels : Engine.Labels)?.[label[2] ?? ""] ?? "";
  const known: Readonly<Record<string, string>> = {
    "node.id": ID,
    "node.hostname": Hostname,
    "node.role": Spec.Role,
    "node.platform.os": Platform.OS,
    "node.platform.arch": Platform.Architecture,
  };
  return known[key] ?? "";
}

/** A sentence for the user: why the volumes cannot stay where they are, or cannot be placed at all. */
class Misplaced extends Error {}

/**
 * The node of each volume. One that was placed stays there; others go to where an earlier stack left them, or where others of
 * their group are, or to the first node that fits. Those of which that is not known yet are left out.
 */
async function place(
  inputs: VolumesInputs,
  before: VolumesInputs["placed"],
): Promise<Record<string, string>> {
  const { nodes, groups, host } = inputs;
  const placed: Record<string, string> = {};
  for (const { volumes, constraints } of groups) {
    const places = new Map(volumes.flatMap((name) => (before?.[name] ? [[name, before[name]]] : [])));
    // A single node needs no search, and a preview may not know how to reach it yet.
    const [only, ...more] = nodes;
    for (const name of volumes.filter((each) => more.length > 0 && !places.has(each)))
      for (const node of nodes)
        if ((await volumeOn(node, name, PREVIEW_TIMEOUT_MS)) !== undefined) {
          const first = places.get(name);
          if (first !== undefined)
            throw new Misplaced(
              `volume ${name} is on node ${first} and on node ${node.name}: remove the one that is out of date`,
            );
          places.set(name, node.name);
        }
    const [[name, at] = [], ...others] = places;
    const other = others.find(([, node]) => node !== at);
    if (other !== undefined)
      throw new Misplaced(
        `volume ${name ?? ""} is on node ${at ?? ""}, but volume ${other[0]}, which the same services use, is on node ${other[1]}: give one of them another name, under which it starts empty on the node of the other, and copy its data`,
      );
    if (at !== undefined && !nodes.some((node) => node.name === at))
      throw new Misplaced(
        `volume ${name ?? ""} is on node ${at}, which is no longer in the stack: put the node back, or give the volume another name, under which it starts empty on another node`,
      );
    const chosen =
      at ??
      (more.length === 0 ? only?.name : undefined) ??
      (await firstFit(nodes, constraints, host, inputs.sshOpts));
    if (chosen !== undefined) for (const volume of volumes) placed[volume] = chosen;
  }
  return placed;
}

async function firstFit(
  nodes: readonly VolumeNode[],
  constraints: readonly string[],
  host: string,
  sshOpts: readonly string[] | undefined,
): Promise<string | undefined> {
  if (constraints.length === 0) return nodes[0]?.name;
  const docker = connect(host, { sshOpts, answerTimeoutMs: PREVIEW_TIMEOUT_MS });
  const members = await api<SwarmNode[]>(docker, "GET", "/nodes");
  const node = nodes.find(({ id }) => members.some((each) => each.ID === id && fits(each, constraints)));
  if (node === undefined)
    throw new Misplaced(`no node fits the placement constraints ${constraints.join(", ")}: change them`);
  return node.name;
}

async function create(inputs: VolumesInputs): Promise<VolumesInputs> {
  const placed = await place(inputs, inputs.placed);
  for (const [name, at] of Object.entries(placed)) {
    const node = inputs.nodes.find((each) => each.name === at);
    if (node === undefined) throw new Error(`node ${at} is not in the stack`);
    const found = await volumeOn(node, name);
    const owner = found?.Labels?.[OWNER_LABEL];
    if (found !== undefined && owner !== ownerOf(inputs))
      throw new Error(
        `Volume ${name} on node ${at} belongs to ${owner === undefined ? "somebody else" : `stack ${owner}`}: rename yours, or copy its data to a volume with the label ${OWNER_LABEL}=${ownerOf(inputs)}`,
      );
    if (found === undefined)
      await api(connect(node.host, node), "POST", "/volumes/create", {
        body: { Name: name, Labels: { [OWNER_LABEL]: ownerOf(inputs) } },
      });
  }
  return { ...inputs, placed };
}

/** Removes every volume of the stack on a node: those of services that are gone, too. */
async function removeAll(node: VolumeNode, owner: string): Promise<void> {
  const docker = connect(node.host, node);
  const query = { filters: { label: [`${OWNER_LABEL}=${owner}`] } };
  const { Volumes } = await api<{ Volumes: Volume[] | null }>(docker, "GET", "/volumes", { query });
  for (const { Name } of Volumes ?? []) {
    for (const deadlineMs = Date.now() + IN_USE_TIMEOUT_MS; ;) {
      try {
        await unless([404], api(docker, "DELETE", `/volumes/${Name}`));
        break;
      } catch (error) {
        // A container that is being removed still uses it.
        if ((error as DockerError).statusCode !== 409 || Date.now() > deadlineMs) throw error;
        await sleep(500);
      }
    }
  }
}

/** Why a renamed stack cannot use its volumes: their names and labels contain the old name, and Docker cannot change either. */
function renamed(olds: Partial<VolumesInputs>, { owner }: VolumesInputs): string | undefined {
  const names = Object.keys(olds.placed ?? {});
  if (olds.owner === undefined || olds.owner === owner || names.length === 0) return undefined;
  return (
    `the stack was renamed from ${olds.owner}, but its volumes (${names.join(", ")}) keep their names, so its services would start ` +
    `with empty ones: rename it back; or, under the old name, run script/backup and script/down first, and restore under the new one`
  );
}

export const nodeVolumesProvider: pulumi.dynamic.ResourceProvider<VolumesInputs, VolumesInputs> = {
  /** Previews call this too, so that they show the node. */
  async check(olds: Partial<VolumesInputs> | undefined, news) {
    const reason = renamed(olds ?? {}, news);
    if (reason !== undefined) return { inputs: news, failures: [{ property: "", reason }] };
    try {
      return { inputs: { ...news, placed: await place(news, olds?.placed) }, failures: [] };
    } catch (error) {
      if (error instanceof Misplaced)
        return { inputs: news, failures: [{ property: "", reason: error.message }] };
      // A preview may not know the nodes yet, or not reach them.
      return { inputs: { ...news, ...(olds?.placed && { placed: olds.placed }) }, failures: [] };
    }
  },
  async create(inputs) {
    return { id: "volumes", outs: await create(inputs) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of NodeVolumes (${id}) is not supported`);
    const placed = { ...props.placed };
    for (const [name, at] of Object.entries(placed)) {
      const node = props.nodes.find((each) => each.name === at);
      if (node !== undefined && (await volumeOn(node, name)) === undefined)
        Reflect.deleteProperty(placed, name);
    }
    const found = { ...props, placed };
    return { id, props: found, inputs: found };
  },
  diff(_id, olds, news) {
    const meaning = ({ nodes, groups, placed, owner }: VolumesInputs) => canonical([nodes, groups, placed ?? {}, owner]); // prettier-ignore
    return Promise.resolve({ changes: meaning(olds) !== meaning(news) });
  },
  async update(_id, _olds, news) {
    return { outs: await create(news) };
  },
  async delete(_id, props) {
    if (process.env[REMOVE_VOLUMES] !== "true") return;
    for (const node of props.nodes) await removeAll(node, ownerOf(props));
  },
};

/**
 * The volumes of a stack's services that are on one node each, where they stay. Deleting this keeps them, unless
 * {@link REMOVE_VOLUMES} is set.
 */
export class NodeVolumes extends DynamicResource {
  /** The name of the node of each volume. */
  declare readonly placed: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: NodeVolumesArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { ...args, owner: stackOwner(), placed: undefined };
    super({ file: __filename, provider: "nodeVolumesProvider" }, name, props, opts, "NodeVolumes");
  }
}
