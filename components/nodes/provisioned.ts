import { createHash } from "node:crypto";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { canonical } from "../../lib/values";
import { DockerEngine } from "../../providers/engine";
import { NodeDrain, NodeReturn } from "../../providers/swarm/node-turn";
import { readyFile, user, userData } from "./cloud-init";
import type { AptSettings } from "./apt-settings";
import { CreationSettings, type Settings } from "./creation-settings";
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
  readonly resource: pulumi.CustomResource;
  /** The address at which other nodes reach it. */
  readonly address: pulumi.Input<string>;
}

/** Where a machine is reached, and how to create it. */
export interface Place {
  /** The address at which the machine is reached from here, known before the machine exists. */
  readonly publicAddress: pulumi.Input<string>;
  /** Known once the machine can have what it is asked to have: no node is drained before. Default: at once. */
  readonly checked?: pulumi.Output<unknown>;
  /** What restarts the machine when it changes, such as its type. */
  readonly restarting: pulumi.Input<Readonly<Record<string, pulumi.Input<unknown>>>>;
  readonly makeMachine: (options: pulumi.CustomResourceOptions) => Machine;
}

/** What `makePlace` needs. */
export interface PlaceParts {
  /** The node's name. */
  readonly name: string;
  /** The user data for the first boot, and the target's {@link MachinesArgs.created}. */
  readonly created: CreationSettings;
  readonly parent: pulumi.Resource;
}

/** What a target says about its machines. */
export interface MachinesArgs {
  readonly platform: string;
  readonly apt: AptSettings;
  /** What only a new machine can have, such as its image. */
  readonly created: pulumi.Input<Settings>;
  /** Whether machines must not be deleted. */
  readonly protect?: boolean;
  /** Makes the place for the machine of a node. */
  readonly makePlace: (parts: PlaceParts) => Place;
}

interface ProvisionedNodeArgs extends MachinesArgs {
  readonly access: SshAccess;
  /** The {@link ProvisionedNode.url}s of all nodes. */
  readonly nodes: pulumi.Output<string[]>;
  /** The node changes after this. */
  readonly after: pulumi.Resource | undefined;
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
export function provisionNodes(config: NodesConfig, args: MachinesArgs): Nodes {
  const access = sshAccess(config);
  const made: ProvisionedNode[] = [];
  const urls = pulumi.output(Promise.resolve().then(() => pulumi.all(made.map(({ url }) => url))));
  const make = (name: string): ProvisionedNode => {
    const node = new ProvisionedNode(name, { ...args, access, nodes: urls, after: made.at(-1)?.returned });
    made.push(node);
    return node;
  };
  const [first, ...others] = nodeNames(config.nodes);
  return [make(first), ...others.map(make)];
}

/** Tells changes apart without showing them. */
const fingerprintOf = (change: unknown): string =>
  createHash("sha256").update(canonical(change)).digest("hex").slice(0, 12);

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
  /** The URL of its engine, known before its machine exists. */
  readonly url: pulumi.Output<string>;
  /** Created or updated once it serves after a change of its machine. */
  readonly returned: pulumi.Resource;

  constructor(name: string, args: ProvisionedNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    // Stacks deployed before the type was renamed keep their machines.
    const aliases = [{ type: "switchyard:index:MadeNode" }];
    super("switchyard:index:ProvisionedNode", name, {}, pulumi.mergeOptions(opts, { aliases }));
    const { folder, authorizedKey, keyFile } = args.access;
    // Its replacement replaces the machine, so a protected machine's key is protected, too: no node is drained for that.
    const hostKey = new SshKey(`${name}-host`, { parent: this, protect: args.protect ?? false });
    const created = new CreationSettings(
      name,
      {
        settings: pulumi.output(args.created).apply((created) => ({ ...created, platform: args.platform })),
        userData: pulumi.secret(
          pulumi
            .all([authorizedKey, hostKey.privateKey, hostKey.publicKey])
            .apply(([key, privateKey, publicKey]) =>
              userData({ name, authorizedKey: key, hostKey: { privateKey, publicKey }, apt: args.apt }),
            ),
        ),
        hostKey: hostKey.publicKey,
      },
      { parent: this },
    );
    const place = args.makePlace({ name, created, parent: this });
    // Each node's drain waits for all URLs.
    this.url = pulumi
      .all([place.publicAddress, place.checked, created.checked])
      .apply(([address]) => `ssh://${user}@${address}`);
    this.sshOpts = pulumi
      .all([keyFile, place.publicAddress, hostKey.publicKey])
      .apply(([key, address, publicKey]) => {
        writeKnownHost(folder, address, publicKey);
        return sshOptions({ folder, key });
      });

    // One machine changes after the other: it waits for its turn, and the next one for its return.
    const turn = { name, host: this.url, nodes: args.nodes, sshOpts: this.sshOpts };
    const change = pulumi.all([hostKey.publicKey, place.restarting]).apply(fingerprintOf);
    const drain = new NodeDrain(name, { ...turn, change }, { parent: this, dependsOn: args.after ?? [] });
    const machine = place.makeMachine({ parent: this, dependsOn: drain });
    const note = hostKey.publicKey.apply((publicKey) => failureNote(folder, name, publicKey));
    this.returned = new NodeReturn(
      name,
      { ...turn, turn: drain.turn, readyFile, failureNote: note },
      { parent: this, dependsOn: machine.resource },
    );
    this.machine = machine.resource;
    this.publicAddress = pulumi.all([place.publicAddress, machine.resource.id]).apply(([address]) => address);
    const engine = new DockerEngine(
      name,
      {
        host: pulumi.interpolate`ssh://${user}@${this.publicAddress}`,
        sshOpts: this.sshOpts,
        readyFile,
        failureNote: note,
        timeoutSeconds: 900,
      },
      { parent: this, ...boundTo(this) },
    );
    this.name = name;
    this.host = engine.host;
    this.bridgeAddress = engine.bridgeAddress;
    this.address = pulumi.output(machine.address);
    this.platform = args.platform;
    this.provider = new docker.Provider(
      name,
      { host: this.host, sshOpts: this.sshOpts.apply((options) => [...options]) },
      { parent: this },
    );
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}
