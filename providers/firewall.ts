/** The firewall of a node, as the container that keeps it knows it (templates/firewall). */
import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { messageOf } from "../lib/errors";
import { api, connect, sameSsh, sleep } from "./client";
import { find, lastWords, remove, stop } from "./containers";
import { DynamicResource } from "./dynamic-resource";
import { execIn } from "./exec";

export interface FirewallInForceArgs {
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The name of the container that keeps it. */
  readonly container: pulumi.Input<string>;
  /** That container's ID. With a new one, an update waits for its rules. */
  readonly containerId: pulumi.Input<string>;
  /** The container's image, which can also remove the rules. */
  readonly image: pulumi.Input<string>;
  /** How long to wait for the rules. Default: 30. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
}

interface FirewallInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly container: string;
  readonly containerId: string;
  readonly image: string;
  readonly timeoutSeconds?: number;
}

const listRules = ["nft", "list", "table", "inet", "switchyard"];
const program = ["node", "/app/main.js"];
const RETRY_PAUSE_MS = 250;

const isInForce = (docker: Docker, { container }: FirewallInputs): Promise<boolean> =>
  execIn(docker, container, listRules).then(
    () => true,
    () => false,
  );

/** Waits until the rules are in force. */
async function waitForRules(inputs: FirewallInputs): Promise<void> {
  const docker = connect(inputs.host, inputs);
  const seconds = inputs.timeoutSeconds ?? 30;
  for (const deadlineMs = Date.now() + seconds * 1000; !(await isInForce(docker, inputs));) {
    if (Date.now() > deadlineMs) {
      throw new Error(
        `The firewall of ${inputs.host} is not in force after ${seconds} s: its kernel needs nftables. ` +
          `To do without it: pulumi config set firewall false. ${await lastWords(docker, inputs.container)}`,
      );
    }
    await sleep(RETRY_PAUSE_MS);
  }
}

/** Removes the rules, by way of a container of its own: the one that keeps them would put them back, and is stopped. */
async function clear(inputs: FirewallInputs): Promise<void> {
  const docker = connect(inputs.host, inputs);
  await stop(docker, inputs.container);
  const { Id } = await api<{ Id: string }>(docker, "POST", "/containers/create", {
    body: {
      Image: inputs.image,
      Entrypoint: program,
      Cmd: ["clear"],
      User: "0",
      Labels: { SERVICE_IGNORE: "true" },
      HostConfig: { NetworkMode: "host", CapDrop: ["ALL"], CapAdd: ["NET_ADMIN"] },
    },
  });
  try {
    await api(docker, "POST", `/containers/${Id}/start`);
    await api(docker, "POST", `/containers/${Id}/wait`);
  } finally {
    await remove(docker, Id);
  }
}

export const firewallProvider: pulumi.dynamic.ResourceProvider<FirewallInputs, FirewallInputs> = {
  async create(inputs) {
    await waitForRules(inputs);
    return { id: inputs.container, outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a FirewallInForce (${id}) is not supported`);
    const docker = connect(props.host, props);
    const runs = (await find(docker, props.container))?.State.Running === true;
    return { id: runs && !(await isInForce(docker, props)) ? "" : id, props };
  },
  diff(_id, olds, news) {
    const about = ({ host, container, containerId, image }: FirewallInputs) =>
      JSON.stringify([host, container, containerId, image]);
    return Promise.resolve({ changes: about(olds) !== about(news) || !sameSsh(olds, news) });
  },
  async update(_id, _olds, news) {
    await waitForRules(news);
    return { outs: news };
  },
  async delete(_id, props) {
    const found = await find(connect(props.host, props), props.container).catch(() => undefined);
    // That of a new machine at the same address.
    if (found !== undefined && found.Id !== props.containerId) return;
    await clear(props).catch((error: unknown) => {
      console.warn(
        `The firewall of ${props.host} is still in force: ${messageOf(error)}. Remove it there with: nft delete table inet switchyard`,
      );
    });
  },
};

/** The rules of a node's firewall: created once they are in force, and removed from the kernel on delete. */
export class FirewallInForce extends DynamicResource {
  constructor(name: string, args: FirewallInForceArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "firewallProvider" }, name, { ...args }, opts, "FirewallInForce");
  }
}
