import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../dynamic-resource";
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { canonical } from "../../lib/values";
import { api, connect, dockerCommand, sameSsh, sleep, type Engine } from "../client";
import { OWNER_LABEL, ownerOf, stackOwner } from "../owner";
import {
  GATEWAY_LABEL,
  hasGatewayNetwork,
  localSwarm,
  managerEndpoint,
  manages,
  POLL_MS,
  removeGatewayNetwork,
} from "./engine";

export interface SwarmArgs {
  /** The Docker URL of the engine that becomes (or is) the first manager. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The address at which other nodes reach this one, the only one on which the Swarm listens. */
  readonly advertiseAddr: pulumi.Input<string>;
  /** The Docker URLs of all managers. Default: the first one's. */
  readonly managers?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** The Swarm's owner. A Swarm that another owner created is used, but never left. Default: `<project>/<stack>`. */
  readonly owner?: pulumi.Input<string> | undefined;
}

interface SwarmInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly advertiseAddr: string;
  readonly managers?: readonly string[];
  readonly owner?: string;
}

interface SwarmState extends SwarmInputs {
  readonly swarmId: string;
  /** Whether this owner created it. If so, deleting the resource leaves the Swarm. */
  readonly created: boolean;
}

interface SwarmDetails {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Labels: Readonly<Record<string, string>> | null };
}

/**
 * The Swarm that this engine manages; undefined if it is in none.
 *
 * @throws Error with a cure if the engine is in any other state
 */
async function managedSwarm(docker: Docker, inputs: SwarmInputs): Promise<SwarmDetails | undefined> {
  const { host } = inputs;
  for (const deadlineMs = Date.now() + 10_000; ;) {
    const local = await localSwarm(docker);
    if (local.LocalNodeState === "inactive") return undefined;
    if (local.ControlAvailable) return api<SwarmDetails>(docker, "GET", "/swarm");
    if (local.LocalNodeState === "active") {
      throw new Error(
        `The Docker Engine at ${host} is a worker in another Swarm, so Switchyard cannot start services on it. ` +
          `Take it out: ${dockerCommand(inputs, "swarm leave")}`,
      );
    }
    // "pending": an engine that has just started, which will soon be in one of the states above.
    if (local.LocalNodeState !== "pending" || Date.now() > deadlineMs) {
      throw new Error(
        `The Swarm of the Docker Engine at ${host} is "${local.LocalNodeState}"${local.Error && `: ${local.Error}`}. ` +
          `Inspect it: ${dockerCommand(inputs, "info")}. Start over with: ${dockerCommand(inputs, "swarm leave --force")}`,
      );
    }
    await sleep(POLL_MS);
  }
}

/**
 * The address pool of the Swarm's networks. Docker assigns its default, 10.0.0.0/8, from the start, which overlaps many LANs: containers
 * could not reach those.
 */
const addressPool = (ownAddress: string): string =>
  ownAddress.startsWith("10.213.") ? "10.214.0.0/16" : "10.213.0.0/16";

async function initSwarm(docker: Docker, inputs: SwarmInputs): Promise<SwarmDetails> {
  const gateway = (await hasGatewayNetwork(docker)) ? "kept" : "made";
  try {
    await api(docker, "POST", "/swarm/init", {
      body: {
        ListenAddr: managerEndpoint(inputs.advertiseAddr),
        AdvertiseAddr: inputs.advertiseAddr,
        DefaultAddrPool: [addressPool(inputs.advertiseAddr)],
        SubnetSize: 24,
        Spec: {
          Labels: { [OWNER_LABEL]: ownerOf(inputs), [GATEWAY_LABEL]: gateway },
          // Keep the previous instance for `docker logs`; more would pile up with every change.
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

function stateOf(inputs: SwarmInputs, swarm: SwarmDetails): SwarmState {
  // An earlier version's state may hold more, such as the secret join tokens.
  const { host, sshOpts, advertiseAddr, managers, owner } = inputs;
  return {
    host,
    ...(sshOpts !== undefined && { sshOpts }),
    advertiseAddr,
    ...(managers !== undefined && { managers }),
    ...(owner !== undefined && { owner }),
    swarmId: swarm.ID,
    created: swarm.Spec.Labels?.[OWNER_LABEL] === ownerOf(inputs),
  };
}

/** Updates the owner of a Swarm that this stack created, for example if an earlier version recorded only the stack. */
async function changeOwner(
  docker: Docker,
  olds: SwarmState,
  news: SwarmInputs,
  { Spec, Version }: SwarmDetails,
): Promise<void> {
  if (!olds.created || Spec.Labels?.[OWNER_LABEL] !== ownerOf(olds) || ownerOf(olds) === ownerOf(news))
    return;
  await api(docker, "POST", "/swarm/update", {
    query: { version: Version.Index },
    body: { ...Spec, Labels: { ...Spec.Labels, [OWNER_LABEL]: ownerOf(news) } },
  });
}

/** Throws if something else still uses the Swarm, and names it. */
async function refuseWhileInUse(docker: Docker, inputs: SwarmInputs): Promise<void> {
  const { host } = inputs;
  const services = await api<{ Spec: { Name: string } }[]>(docker, "GET", "/services");
  if (services.length > 0) {
    const names = services.map((service) => service.Spec.Name).sort();
    throw new Error(
      `The Swarm on ${host} still runs services that do not belong to this stack, so it stays: ` +
        `remove them (${dockerCommand(inputs, `service rm ${names.join(" ")}`)}) and try again`,
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

/** The engine of another manager of the Swarm; "none" if all others answer that they do not manage it, "unknown" if not all do. */
async function elsewhere(inputs: SwarmInputs, swarmId: string): Promise<Engine | "none" | "unknown"> {
  const { host: first, managers = [], sshOpts } = inputs;
  let isCertain = true;
  for (const host of managers.filter((manager) => manager !== first)) {
    const engine = { host, sshOpts };
    const answer = await manages(engine, swarmId);
    if (answer === true) return engine;
    isCertain &&= answer === false;
  }
  return isCertain ? "none" : "unknown";
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
    const swarm = (await managedSwarm(docker, inputs)) ?? (await initSwarm(docker, inputs));
    return { id: swarm.ID, outs: stateOf(inputs, swarm) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a Swarm (${id}) is not supported`);
    const docker = connect(props.host, props);
    const local = await localSwarm(docker);
    const swarm = local.ControlAvailable ? await api<SwarmDetails>(docker, "GET", "/swarm") : undefined;
    if (swarm?.ID === id) return { id, props: stateOf(props, swarm) };
    // The first node may have lost its disk: it joins again as a member.
    return { id: (await elsewhere(props, id)) === "none" ? "" : id, props };
  },
  async diff(id, olds, news) {
    const moved = olds.host !== news.host;
    // The address of an adopted Swarm is up to its owner.
    const readdressed = olds.created && olds.advertiseAddr !== news.advertiseAddr;
    const here = await manages(news, id);
    const replaces: string[] = [];
    if (moved ? here !== true : here === false || readdressed) {
      // Another manager keeps the Swarm while the first one joins again or leaves.
      const other = await elsewhere(news, id);
      const isKept = other !== "none" && other !== "unknown";
      if (moved && !isKept && (await isWorker(news))) {
        throw new Error(
          `The node at ${news.host} cannot replace ${olds.host} as the first node: it is a worker in the Swarm, ` +
            `because a Swarm of two nodes has one manager. Add a third node (up), then remove the first (up again)`,
        );
      }
      const isLost = here === false && other === "none";
      if (moved ? !isKept : isLost) replaces.push("host");
      if (readdressed && !isKept) replaces.push("advertiseAddr");
    }
    const changes =
      replaces.length > 0 ||
      moved ||
      readdressed ||
      !sameSsh(olds, news) ||
      canonical(olds.managers ?? []) !== canonical(news.managers ?? []) ||
      ownerOf(olds) !== ownerOf(news) ||
      // Earlier versions kept the secret tokens in the state: an update removes them.
      "joinTokens" in olds;
    return { changes, replaces, deleteBeforeReplace: true };
  },
  async update(id, olds, news) {
    const other = (await manages(news, id)) === true ? news : await elsewhere(news, id);
    if (other === "none" || other === "unknown")
      throw new Error(
        `The Docker Engine at ${news.host} has left the Swarm in the meantime: run "up" with a refresh`,
      );
    const docker = connect(other.host, other);
    await changeOwner(docker, olds, news, await api<SwarmDetails>(docker, "GET", "/swarm"));
    return { outs: stateOf(news, await api<SwarmDetails>(docker, "GET", "/swarm")) };
  },
  async delete(id, props) {
    if (!props.created) return;
    const docker = connect(props.host, props);
    const local = await localSwarm(docker);
    if (!local.ControlAvailable) return;
    const swarm = await api<SwarmDetails>(docker, "GET", "/swarm");
    const owner = swarm.Spec.Labels?.[OWNER_LABEL] ?? ownerOf(props);
    if (swarm.ID !== id || owner !== ownerOf(props)) return;
    await refuseWhileInUse(docker, props);
    await api(docker, "POST", "/swarm/leave", { query: { force: true } });
    if (swarm.Spec.Labels?.[GATEWAY_LABEL] === "made") await removeGatewayNetwork(docker, props);
  },
};

/**
 * The Swarm, seen from its first manager. If the engine is in no Swarm, one is created, and left on delete. A Swarm that
 * already exists is used as it is and never left. Nodes join it as `SwarmMember`.
 */
export class Swarm extends DynamicResource {
  declare readonly host: pulumi.Output<string>;
  declare readonly advertiseAddr: pulumi.Output<string>;
  declare readonly swarmId: pulumi.Output<string>;
  /** Whether this owner created it, now or in an earlier run. */
  declare readonly created: pulumi.Output<boolean>;

  constructor(name: string, args: SwarmArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = { swarmId: undefined, created: undefined };
    const owner = args.owner ?? stackOwner();
    super(
      { file: __filename, provider: "swarmProvider" },
      name,
      { ...args, owner, ...outputs },
      opts,
      "Swarm",
    );
  }
}
