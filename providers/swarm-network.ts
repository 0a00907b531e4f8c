import * as pulumi from "@pulumi/pulumi";
import { messageOf } from "../lib/errors";
import { api, connect, dockerCommand, sameSsh, sleep, unless } from "./client";
import { DynamicResource } from "./dynamic-resource";
import { OWNER_LABEL, ownerOf, stackOwner } from "./owner";
import { isManager } from "./swarm/engine";

export interface SwarmNetworkArgs {
  /** The Docker URL of a manager of the Swarm, with options of `ssh`. */
  readonly host: pulumi.Input<string>;
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  readonly swarmId: pulumi.Input<string>;
  readonly name: pulumi.Input<string>;
}

interface NetworkInputs {
  readonly owner?: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly swarmId: string;
  readonly name: string;
}

interface Network {
  readonly Id: string;
  readonly Name: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

const POLL_MS = 500;
/** How long the containers of services that are gone may stay on it. */
const RELEASE_MS = 30_000;

export const swarmNetworkProvider: pulumi.dynamic.ResourceProvider<NetworkInputs, NetworkInputs> = {
  async create(inputs) {
    const docker = connect(inputs.host, inputs);
    const { name } = inputs;
    const owner = ownerOf(inputs);
    const similar = await api<Network[]>(docker, "GET", "/networks", {
      query: { filters: { name: [name] } },
    });
    // One of ours was made by a run that was killed.
    const present = similar.find(({ Name }) => Name === name);
    if (present !== undefined && present.Labels?.[OWNER_LABEL] !== owner)
      throw new Error(
        `Docker on ${inputs.host} already has a network ${name} that does not belong to ${owner}. ` +
          `Rename yours, or remove it: ${dockerCommand(inputs, `network rm ${name}`)}`,
      );
    if (present !== undefined) return { id: present.Id, outs: inputs };
    const { Id: id } = await api<{ Id: string }>(docker, "POST", "/networks/create", {
      body: {
        Name: name,
        CheckDuplicate: true,
        Driver: "overlay",
        // For `docker run --network`, to look at a service from inside.
        Attachable: true,
        Labels: { [OWNER_LABEL]: owner },
      },
    });
    return { id, outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a SwarmNetwork (${id}) is not supported`);
    const docker = connect(props.host, props);
    const found = await unless([404, 503], api(docker, "GET", `/networks/${id}`));
    return { id: found === undefined && (await isManager(docker)) ? "" : id, props };
  },
  diff(_id, olds, news) {
    const replaces = (["name", "swarmId"] as const).filter((key) => olds[key] !== news[key]);
    return Promise.resolve({
      changes: replaces.length > 0 || olds.host !== news.host || !sameSsh(olds, news),
      replaces,
    });
  },
  update(_id, _olds, news) {
    return Promise.resolve({ outs: news });
  },
  async delete(id, props) {
    const docker = connect(props.host, props);
    for (const deadlineMs = Date.now() + RELEASE_MS; ;)
      try {
        await unless([404, 503], api(docker, "DELETE", `/networks/${id}`));
        return;
      } catch (error) {
        if (!/ in use |active endpoints/.test(messageOf(error)) || Date.now() > deadlineMs) throw error;
        await sleep(POLL_MS);
      }
  },
};

/** A network across all nodes of a Swarm, on which services reach each other by name. */
export class SwarmNetwork extends DynamicResource {
  constructor(name: string, args: SwarmNetworkArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { ...args, owner: stackOwner() };
    super({ file: __filename, provider: "swarmNetworkProvider" }, name, props, opts, "SwarmNetwork");
  }
}
