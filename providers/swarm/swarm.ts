import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { api, connect, messageOf, sameSsh, sleep } from "../client";
import {
  GATEWAY_LABEL,
  hasGatewayNetwork,
  localSwarm,
  managerEndpoint,
  removeGatewayNetwork,
} from "./engine";

/** What a {@link Swarm} is made from. */
export interface SwarmArgs {
  /** The Docker URL of the engine that becomes (or is) the first manager. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh`, for hosts that begin with `ssh://`. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The address that other nodes reach this one by; the Swarm listens there only, not on every interface. */
  readonly advertiseAddr: pulumi.Input<string>;
  /** Whose Swarm it is, e.g. the stack: a Swarm made by another owner is used, but never left. Default: "switchyard". */
  readonly owner?: pulumi.Input<string> | undefined;
}

interface SwarmInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly advertiseAddr: string;
  readonly owner?: string;
}

interface SwarmState extends SwarmInputs {
  readonly swarmId: string;
  readonly nodeId: string;
  /** We made it, so we take it away again. */
  readonly created: boolean;
  readonly joinTokens: { readonly manager: string; readonly worker: string };
}

interface SwarmDetails {
  readonly ID: string;
  readonly Spec: { readonly Labels: Record<string, string> | null };
  readonly JoinTokens: { readonly Manager: string; readonly Worker: string };
}

const OWNER_LABEL = "switchyard.owner";

/** The Swarm that this engine manages; undefined when it is in none; an error with its cure for anything between. */
async function managedSwarm(docker: Docker, host: string): Promise<SwarmDetails | undefined> {
  for (let patience = 40; ; patience--) {
    const local = await localSwarm(docker);
    if (local.LocalNodeState === "inactive") return undefined;
    if (local.ControlAvailable) return api<SwarmDetails>(docker, "GET", "/swarm");
    if (local.LocalNodeState === "active") {
      throw new Error(
        `The Docker Engine at ${host} is a worker in another Swarm, so Switchyard cannot start services on it. ` +
          `Take it out: docker -H ${host} swarm leave`,
      );
    }
    // "pending": an engine that has just started is on its way to one of the states above.
    if (local.LocalNodeState !== "pending" || patience === 0) {
      throw new Error(
        `The Swarm of the Docker Engine at ${host} is "${local.LocalNodeState}"${local.Error && `: ${local.Error}`}. ` +
          `See: docker -H ${host} info; start afresh with: docker -H ${host} swarm leave --force`,
      );
    }
    await sleep(250);
  }
}

async function initSwarm(docker: Docker, inputs: SwarmInputs, owner: string): Promise<SwarmDetails> {
  const gateway = (await hasGatewayNetwork(docker)) ? "kept" : "made";
  try {
    await api(docker, "POST", "/swarm/init", {
      body: {
        ListenAddr: managerEndpoint(inputs.advertiseAddr),
        AdvertiseAddr: inputs.advertiseAddr,
        Spec: {
          Labels: { [OWNER_LABEL]: owner, [GATEWAY_LABEL]: gateway },
          // The instance before the present one stays for `docker logs`; more would pile up with every change.
          Orchestration: { TaskHistoryRetentionLimit: 2 },
        },
      },
    });
  } catch (error) {
    throw new Error(
      `Docker at ${inputs.host} could not start a Swarm on ${inputs.advertiseAddr}: ${messageOf(error)}. ` +
        `The address must be one of that machine's own, with port 2377 free`,
      { cause: error },
    );
  }
  return api<SwarmDetails>(docker, "GET", "/swarm");
}

async function stateOf(docker: Docker, inputs: SwarmInputs, swarm: SwarmDetails): Promise<SwarmState> {
  return {
    ...inputs,
    swarmId: swarm.ID,
    nodeId: (await localSwarm(docker)).NodeID,
    created: swarm.Spec.Labels?.[OWNER_LABEL] === (inputs.owner ?? "switchyard"),
    joinTokens: { manager: swarm.JoinTokens.Manager, worker: swarm.JoinTokens.Worker },
  };
}

/** Names what would be lost with the Swarm and is not ours to lose. */
async function refuseWhileInUse(docker: Docker, host: string): Promise<void> {
  const services = await api<{ Spec: { Name: string } }[]>(docker, "GET", "/services");
  if (services.length > 0) {
    const names = services.map((service) => service.Spec.Name).sort();
    throw new Error(
      `The Swarm on ${host} still runs services that this stack does not know, so it stays: ` +
        `remove them (docker -H ${host} service rm ${names.join(" ")}) and try again`,
    );
  }
  const nodes = await api<{ Description: { Hostname: string }; Status: { State: string } }[]>(
    docker,
    "GET",
    "/nodes",
  );
  const ready = nodes.filter((node) => node.Status.State === "ready");
  if (ready.length > 1) {
    const names = ready.map((node) => node.Description.Hostname).sort();
    throw new Error(
      `The Swarm on ${host} has other nodes (${names.join(", ")}), so it stays: ` +
        `run "docker swarm leave" on them and try again`,
    );
  }
}

async function manages(inputs: SwarmInputs, swarmId: string): Promise<boolean> {
  try {
    return (await api<SwarmDetails>(connect(inputs.host, inputs), "GET", "/swarm")).ID === swarmId;
  } catch {
    return false;
  }
}

async function isWorker(inputs: SwarmInputs): Promise<boolean> {
  try {
    const local = await localSwarm(connect(inputs.host, inputs));
    return local.LocalNodeState === "active" && !local.ControlAvailable;
  } catch {
    return false;
  }
}

export const swarmProvider: pulumi.dynamic.ResourceProvider<SwarmInputs, SwarmState> = {
  async create(inputs) {
    const docker = connect(inputs.host, inputs);
    const swarm =
      (await managedSwarm(docker, inputs.host)) ??
      (await initSwarm(docker, inputs, inputs.owner ?? "switchyard"));
    return { id: swarm.ID, outs: await stateOf(docker, inputs, swarm) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a Swarm (${id}) is not supported`);
    const docker = connect(props.host, props);
    const local = await localSwarm(docker);
    const swarm = local.ControlAvailable ? await api<SwarmDetails>(docker, "GET", "/swarm") : undefined;
    if (swarm?.ID !== id) return { id: "", props };
    return { id, props: await stateOf(docker, props, swarm) };
  },
  async diff(id, olds, news) {
    const moved = olds.host !== news.host;
    // Another manager of the same Swarm takes over where the first one goes.
    if (moved && (await manages(news, id))) return { changes: true, replaces: [] };
    if (moved && (await isWorker(news))) {
      throw new Error(
        `The node at ${news.host} cannot take over from ${olds.host} as the first one: it manages nothing in their Swarm, ` +
          `because two nodes have one manager. Add a third node (up), then take out the first (up again)`,
      );
    }
    const replaces = moved ? ["host"] : [];
    // One that we adopted is the business of whoever made it.
    if (olds.created && olds.advertiseAddr !== news.advertiseAddr) replaces.push("advertiseAddr");
    return {
      changes: replaces.length > 0 || !sameSsh(olds, news),
      replaces,
      deleteBeforeReplace: true,
    };
  },
  async update(id, _olds, news) {
    const docker = connect(news.host, news);
    const swarm = await api<SwarmDetails>(docker, "GET", "/swarm");
    if (swarm.ID !== id) throw new Error(`The Docker Engine at ${news.host} has left the Swarm meanwhile`);
    return { outs: await stateOf(docker, news, swarm) };
  },
  async delete(id, props) {
    if (!props.created) return;
    const docker = connect(props.host, props);
    const local = await localSwarm(docker);
    if (!local.ControlAvailable) return;
    const swarm = await api<SwarmDetails>(docker, "GET", "/swarm");
    if (swarm.ID !== id) return;
    await refuseWhileInUse(docker, props.host);
    await api(docker, "POST", "/swarm/leave", { query: { force: true } });
    if (swarm.Spec.Labels?.[GATEWAY_LABEL] === "made") await removeGatewayNetwork(docker, props.host);
  },
};

/**
 * The Swarm, seen from its first manager: made where there is none, and left again on delete; one that was there before
 * is used as it is and never left. Nodes join it as {@link SwarmMember}.
 */
export class Swarm extends pulumi.dynamic.Resource {
  declare readonly host: pulumi.Output<string>;
  declare readonly advertiseAddr: pulumi.Output<string>;
  declare readonly swarmId: pulumi.Output<string>;
  declare readonly nodeId: pulumi.Output<string>;
  /** Whether this owner made it, now or in an earlier run. */
  declare readonly created: pulumi.Output<boolean>;
  /** Secret: whoever has one of them can join. */
  declare readonly joinTokens: pulumi.Output<{ readonly manager: string; readonly worker: string }>;

  constructor(name: string, args: SwarmArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = { swarmId: undefined, nodeId: undefined, created: undefined, joinTokens: undefined };
    super(
      swarmProvider,
      name,
      { ...args, ...outputs },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ["joinTokens"] }),
      "switchyard",
      "Swarm",
    );
  }
}
