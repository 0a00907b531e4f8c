import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { DockerEngine } from "../../providers/engine";
import { readyFile, user, userData } from "./cloud-init";
import type { AptSettings } from "./apt-settings";
import { boundTo, type DockerNode } from "./node";
import { failureNote, publicKeyOf, sshFolder, sshOptions, writeKey, writeKnownHost } from "./ssh-files";
import { SshKey } from "./ssh-key";
import type { Nodes, NodesConfig } from "./target";

/** SSH access to the machines that the program creates. */
export interface SshAccess {
  /** Folder for the files that ssh needs. */
  readonly folder: string;
  readonly authorizedKey: pulumi.Output<string>;
  /** File of the private key. */
  readonly keyFile: pulumi.Output<string>;
}

/** A machine that becomes a node. */
export interface Machine {
  /** The machine. The node's resources are deleted and replaced with it. */
  readonly resource: pulumi.Resource;
  /** The address at which other nodes reach it. */
  readonly address: pulumi.Input<string>;
  /** The address at which it is reached from here. Known once the machine exists. */
  readonly publicAddress: pulumi.Input<string>;
}

/** What `makeMachine` needs to create a machine. */
export interface MachineParts {
  readonly name: string;
  /** User data for the first boot. Secret, because it contains the host key. */
  readonly userData: pulumi.Output<string>;
  readonly parent: pulumi.Resource;
}

export interface ProvisionedNodeArgs {
  readonly access: SshAccess;
  readonly platform: string;
  readonly apt: AptSettings;
  readonly makeMachine: (parts: MachineParts) => Machine;
}

/** The user's key, or a key generated for the stack. */
function sshAccess({ sshKey }: NodesConfig): SshAccess {
  const folder = sshFolder(pulumi.getStack());
  if (sshKey !== undefined) {
    const authorizedKey = pulumi.output(publicKeyOf(sshKey));
    return { folder, authorizedKey, keyFile: pulumi.output(sshKey) };
  }
  const key = new SshKey("ssh");
  // Written on every run that knows the key, so that a fresh checkout has access too.
  const keyFile = pulumi.unsecret(key.privateKey.apply((content) => writeKey(folder, content)));
  return { folder, authorizedKey: key.publicKey, keyFile };
}

/** `node-1` and so on. Resources are named after their node, so a changed number of nodes leaves the others alone. */
export function nodeNames(count: number): [string, ...string[]] {
  return ["node-1", ...Array.from({ length: count - 1 }, (_, index) => `node-${index + 2}`)];
}

/** The number in a node's name: 1 for `node-1`. */
export const numberOf = (name: string): number => Number(/\d+$/.exec(name)?.[0] ?? 0);

/** Creates as many nodes as the configuration asks for. */
export function provisionNodes(config: NodesConfig, args: Omit<ProvisionedNodeArgs, "access">): Nodes {
  const access = sshAccess(config);
  const [first, ...others] = nodeNames(config.nodes);
  const make = (name: string): ProvisionedNode => new ProvisionedNode(name, { ...args, access });
  return [make(first), ...others.map(make)];
}

/** A machine that the program creates, with Docker from Debian. It is reached over SSH as the user `switchyard`. */
export class ProvisionedNode extends pulumi.ComponentResource implements DockerNode {
  readonly name: string;
  readonly address: pulumi.Output<string>;
  readonly publicAddress: pulumi.Output<string>;
  readonly host: pulumi.Output<string>;
  readonly sshOpts: pulumi.Output<readonly string[]>;
  readonly machine: pulumi.Resource;
  readonly bridgeAddress: pulumi.Output<string>;
  readonly platform: string;
  readonly provider: docker.Provider;

  constructor(name: string, args: ProvisionedNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    // Stacks deployed before the type was renamed keep their machines.
    const aliases = [{ type: "switchyard:index:MadeNode" }];
    super("switchyard:index:ProvisionedNode", name, {}, pulumi.mergeOptions(opts, { aliases }));
    const { folder, authorizedKey, keyFile } = args.access;
    const hostKey = new SshKey(`${name}-host`, { parent: this });
    const machine = args.makeMachine({
      name,
      parent: this,
      userData: pulumi.secret(
        pulumi
          .all([authorizedKey, hostKey.privateKey, hostKey.publicKey])
          .apply(([key, privateKey, publicKey]) =>
            userData({
              name,
              authorizedKey: key,
              hostKey: { privateKey, publicKey },
              apt: args.apt,
            }),
          ),
      ),
    });
    this.machine = machine.resource;
    this.sshOpts = pulumi
      .all([keyFile, machine.publicAddress, hostKey.publicKey])
      .apply(([key, address, publicKey]) => {
        writeKnownHost(folder, address, publicKey);
        return sshOptions({ folder, key });
      });
    const engine = new DockerEngine(
      name,
      {
        host: pulumi.interpolate`ssh://${user}@${machine.publicAddress}`,
        sshOpts: this.sshOpts,
        readyFile,
        failureNote: hostKey.publicKey.apply((publicKey) => failureNote(folder, name, publicKey)),
        timeoutSeconds: 900,
      },
      { parent: this, ...boundTo(this) },
    );
    this.name = name;
    this.host = engine.host;
    this.bridgeAddress = engine.bridgeAddress;
    this.address = pulumi.output(machine.address);
    this.publicAddress = pulumi.output(machine.publicAddress);
    this.platform = args.platform;
    this.provider = new docker.Provider(
      name,
      { host: this.host, sshOpts: this.sshOpts.apply((options) => [...options]) },
      { parent: this },
    );
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}
