/** What backups do on a node: containers that run restic, volumes beside the stack's, and their exchange. */
import path from "node:path";

import type Docker from "dockerode";

import { prepare } from "../components/image";
import { image } from "../engine/docker/image";
import { messageOf, UserError } from "../lib/errors";
import { api, connect, sleep, unless, type DockerError } from "../providers/client";
import { find, type Listed } from "../providers/containers";
import { execIn, ExecError } from "../providers/exec";
import { OWNER_LABEL } from "../providers/owner";
import type { Node } from "./stack";

export interface Mount {
  readonly Type: "volume" | "bind";
  readonly Source: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
}

/** A container in which programs run, one after the other. It ends with this process, however that ends. */
export interface Toolbox {
  /**
   * @param env variables with secrets, which no `docker inspect` shows
   * @throws ExecError if the program fails
   */
  run(command: readonly string[], env?: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

interface ToolboxOptions {
  /** Only one container has it at a time. Default: any. */
  readonly name?: string;
  readonly mounts?: readonly Mount[];
  readonly binds?: readonly string[];
  readonly offline?: boolean;
}

/** A volume, and a path in it: `["dev_data", ""]`. */
export type Folder = readonly [volume: string, path: string];

/** Docker has not said how an exchange ended. */
export class UnclearExchange extends Error {}

interface VolumeDetails {
  readonly Name: string;
  readonly Mountpoint: string;
  readonly Labels: Readonly<Record<string, string>> | null;
}

/** Docker needs a while to remove the containers of a service that is gone. */
const releaseMs = 60_000;
/** How long a container may outlive the process that it was for. */
const endMs = 20_000;
const pollMs = 300;

export class BackupNode {
  private readonly docker: Docker;

  constructor(
    readonly node: Node,
    private readonly owner: string,
    private readonly base: string,
    private readonly say: (line: string) => void,
  ) {
    // A backup may take hours.
    this.docker = connect(node.host, { sshOpts: node.sshOpts, answerTimeoutMs: 0 });
  }

  /** Builds the image unless the node has it. */
  private async image(): Promise<string> {
    const { context, args, tag } = prepare("backup", this.base);
    const imageName = `switchyard/backup:${tag}`;
    if ((await unless([404], api(this.docker, "GET", `/images/${imageName}/json`))) !== undefined) return imageName; // prettier-ignore
    this.say(`building the image with restic on node ${this.node.name}`);
    const subject = { name: "backup", urn: "", ownLabels: {}, inState: () => false, say: () => undefined };
    const { host } = this.node;
    await image.create({ ...subject, docker: this.docker, host }, { imageName, build: { context, args }, skipPush: true }); // prettier-ignore
    return imageName;
  }

  /** @throws UserError if a folder that it mounts does not exist, or another run has a container of the name */
  async toolbox({ name, mounts = [], binds = [], offline = false }: ToolboxOptions): Promise<Toolbox> {
    const id = await this.create(name, {
      Image: await this.image(),
      Labels: { [OWNER_LABEL]: this.owner, SERVICE_IGNORE: "true" },
      // The container ends when its input closes, as it does when the connection breaks.
      Entrypoint: ["cat"],
      OpenStdin: true,
      StdinOnce: true,
      HostConfig: {
        Init: true,
        AutoRemove: true,
        Mounts: mounts,
        Binds: binds,
        ...(offline && { NetworkMode: "none" }),
      },
    });
    const input = await this.docker.getContainer(id).attach({ stream: true, stdin: true, hijack: true });
    // Whatever is wrong with the connection, the next command says so.
    input.on("error", () => undefined);
    await api(this.docker, "POST", `/containers/${id}/start`);
    return {
      run: (command, env) => execIn(this.docker, id, command, env),
      close: async () => {
        input.end();
        await unless([404, 409], api(this.docker, "DELETE", `/containers/${id}`, { query: { force: true } }));
        while ((await find(this.docker, id)) !== undefined) await sleep(pollMs);
      },
    };
  }

  private async create(name: string | undefined, body: object): Promise<string> {
    const query = name === undefined ? {} : { name };
    for (const deadlineMs = Date.now() + endMs; ;)
      try {
        const { Id } = await api<{ Id: string }>(this.docker, "POST", "/containers/create", { query, body });
        return Id;
      } catch (error) {
        const [, folder] = /bind source path does not exist: (\S+)/.exec(String(error)) ?? [];
        if (folder !== undefined)
          throw new UserError(`There is no folder ${folder} on node ${this.node.name}: correct it`);
        if ((error as DockerError).statusCode !== 409 || name === undefined) throw error;
        // That of a process that was killed is about to go.
        if (Date.now() > deadlineMs)
          throw new UserError(
            `Another restore is under way on node ${this.node.name}: wait until it ends. If there is none, remove container ${name} there`,
          );
        await sleep(pollMs);
      }
  }

  /** Creates a volume, empty: one that an interrupted run left is removed first. */
  async freshVolume(name: string, labels?: Readonly<Record<string, string>>): Promise<void> {
    await this.removeVolume(name);
    await this.volume(name, labels);
  }

  /**
   * Creates a volume if there is none.
   *
   * @param labels what a new one is labelled with
   */
  async volume(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    const body = { Name: name, Labels: { ...labels, [OWNER_LABEL]: this.owner } };
    const { Labels } = await api<VolumeDetails>(this.docker, "POST", "/volumes/create", { body });
    this.checkOwner(name, Labels);
  }

  private checkOwner(name: string, labels: VolumeDetails["Labels"]): void {
    if (labels?.[OWNER_LABEL] !== this.owner)
      throw new UserError(`Volume ${name} on node ${this.node.name} belongs to somebody else`);
  }

  /** @throws UserError if it is not the stack's */
  async removeVolume(name: string): Promise<void> {
    const found = await unless([404], api<VolumeDetails>(this.docker, "GET", `/volumes/${name}`));
    if (found === undefined) return;
    this.checkOwner(name, found.Labels);
    for (const deadlineMs = Date.now() + releaseMs; ;) {
      try {
        await unless([404], api(this.docker, "DELETE", `/volumes/${name}`));
        return;
      } catch (error) {
        if ((error as DockerError).statusCode !== 409 || Date.now() > deadlineMs) throw error;
        await sleep(500);
      }
    }
  }

  /** The stack's volumes with a label. */
  async labelled(
    label: string,
  ): Promise<{ readonly name: string; readonly labels: Readonly<Record<string, string>> }[]> {
    const query = { filters: { label: [label, `${OWNER_LABEL}=${this.owner}`] } };
    const { Volumes } = await api<{ Volumes: VolumeDetails[] | null }>(this.docker, "GET", "/volumes", { query }); // prettier-ignore
    return (Volumes ?? []).map(({ Name, Labels }) => ({ name: Name, labels: Labels ?? {} }));
  }

  /** The containers that run with a volume. */
  running(volume: string): Promise<Listed[]> {
    const query = { filters: { volume: [volume] } };
    return api<Listed[]>(this.docker, "GET", "/containers/json", { query });
  }

  /** Whether a container runs. */
  async runs(name: string): Promise<boolean> {
    return (await find(this.docker, name))?.State.Running === true;
  }

  async pathOf([volume, folder]: Folder): Promise<string> {
    const { Mountpoint } = await api<VolumeDetails>(this.docker, "GET", `/volumes/${volume}`);
    return path.posix.join(Mountpoint, folder);
  }
}

/** Exchanges folders of volumes. There is one on a node at a time, so that two restores do not meet. */
export class Exchanger {
  private constructor(
    private readonly node: BackupNode,
    private readonly toolbox: Toolbox,
  ) {}

  /**
   * @param volume one that exists
   * @throws UserError if another restore is under way
   */
  static async open(node: BackupNode, volume: string): Promise<Exchanger> {
    const root = path.posix.dirname(path.posix.dirname(await node.pathOf([volume, ""])));
    const binds = [`${root}:${root}`];
    return new Exchanger(node, await node.toolbox({ name: "switchyard-restore", binds, offline: true }));
  }

  /**
   * Exchanges the contents of two folders, in one step: whenever it is interrupted, each is whole, in one place or the other. No
   * container may be using them.
   *
   * @throws UnclearExchange if it may have happened
   */
  async exchange(one: Folder, other: Folder): Promise<void> {
    const paths = [await this.node.pathOf(one), await this.node.pathOf(other)];
    try {
      await this.toolbox.run(["mv", "--exchange", "--no-target-directory", ...paths]);
    } catch (error) {
      if (error instanceof ExecError)
        throw new Error(`the data cannot be exchanged: ${error.message}`, { cause: error });
      throw new UnclearExchange(messageOf(error), { cause: error });
    }
  }

  /** What the file system calls a folder, wherever it is moved. The number of its device would change when the node starts again. */
  async identityOf(folder: Folder): Promise<string> {
    return this.toolbox.run(["stat", "--format=%i:%W", await this.node.pathOf(folder)]);
  }

  close(): Promise<void> {
    return this.toolbox.close();
  }
}
