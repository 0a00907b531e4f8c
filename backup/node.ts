/** What backups do on a node: containers that run restic, volumes beside the stack's, and their exchange. */
import path from "node:path";

import type Docker from "dockerode";

import { prepare } from "../components/image";
import { image } from "../engine/docker/image";
import { messageOf, UserError } from "../lib/errors";
import { api, connect, sleep, textOf, unless, type DockerError } from "../providers/client";
import { find, remove, type Listed } from "../providers/containers";
import { execIn, ExecError } from "../providers/exec";
import { OWNER_LABEL } from "../providers/owner";
import type { Node } from "./stack";

interface Mount {
  readonly Type: "volume" | "bind";
  readonly Source: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
}

/** A container in which programs of the image run, one after the other. */
export interface Toolbox {
  /** Runs a command of the image, with secrets in its environment, which no `docker inspect` shows. */
  run(...args: string[]): Promise<string>;
  close(): Promise<void>;
}

/** Docker has not said how an exchange ended. */
export class UnclearExchange extends Error {}

/** Docker needs a while to remove the containers of a service that is gone. */
const releaseMs = 60_000;

const labelOf = (owner: string) => ({ [OWNER_LABEL]: owner, SERVICE_IGNORE: "true" });

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

  /**
   * @param name what it works on. A container that an earlier run left is removed first
   * @param env variables with secrets
   * @throws UserError if a folder that it mounts does not exist
   */
  async toolbox(
    name: string,
    { mounts, binds, env }: { mounts: readonly Mount[]; binds: readonly string[]; env: readonly string[] },
  ): Promise<Toolbox> {
    const id = await this.create(name, {
      Entrypoint: ["sleep"],
      Cmd: ["30d"],
      HostConfig: { Init: true, AutoRemove: true, Mounts: mounts, Binds: binds },
    });
    await api(this.docker, "POST", `/containers/${id}/start`);
    return {
      run: async (...args) => {
        try {
          return await execIn(this.docker, id, ["node", "/app/main.js", ...args], env);
        } catch (error) {
          if (!(error instanceof ExecError)) throw error;
          const said = error.message.slice(error.message.indexOf(": ") + 2);
          throw new UserError(error.exitCode === 137 ? `The program was killed: ${said}` : said);
        }
      },
      close: () => this.remove(id),
    };
  }

  /** Removes a container that removes itself, too. */
  private async remove(id: string): Promise<void> {
    await unless(
      [404, 409],
      api(this.docker, "DELETE", `/containers/${id}`, { query: { force: true, v: true } }),
    );
    while ((await find(this.docker, id)) !== undefined) await sleep(100);
  }

  private async create(name: string, body: object): Promise<string> {
    await this.removeLeft(name);
    try {
      const { Id } = await api<{ Id: string }>(this.docker, "POST", "/containers/create", {
        query: { name },
        body: { Image: await this.image(), Labels: labelOf(this.owner), ...body },
      });
      return Id;
    } catch (error) {
      const [, folder] = /bind source path does not exist: (\S+)/.exec(String(error)) ?? [];
      if (folder === undefined) throw error;
      throw new UserError(`There is no folder ${folder} on node ${this.node.name}: correct it`);
    }
  }

  /** Removes a container that an interrupted run left, and ends what it still does. */
  async removeLeft(name: string): Promise<void> {
    const left = await find(this.docker, name);
    if (left === undefined) return;
    if (left.Config.Labels?.[OWNER_LABEL] !== this.owner)
      throw new UserError(`Container ${name} on node ${this.node.name} belongs to somebody else: rename it`);
    this.say("removing what an interrupted run left");
    await this.remove(left.Id);
  }

  /** Creates a volume, empty: one that an interrupted run left is removed first. */
  async freshVolume(name: string): Promise<void> {
    await this.removeVolume(name);
    await this.volume(name);
  }

  /** Creates a volume if there is none. */
  async volume(name: string): Promise<void> {
    const body = { Name: name, Labels: { [OWNER_LABEL]: this.owner } };
    const { Labels } = await api<{ Labels: Readonly<Record<string, string>> | null }>(this.docker, "POST", "/volumes/create", { body }); // prettier-ignore
    if (Labels?.[OWNER_LABEL] !== this.owner)
      throw new UserError(`Volume ${name} on node ${this.node.name} belongs to somebody else`);
  }

  async removeVolume(name: string): Promise<void> {
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

  async hasVolume(name: string): Promise<boolean> {
    return (await unless([404], api(this.docker, "GET", `/volumes/${name}`))) !== undefined;
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

  /**
   * Exchanges the contents of two folders of volumes, in one step: whenever it is interrupted, each is whole, in one place or the
   * other. No container may be using them.
   *
   * @param folders each in a volume: `["dev_data", ""]`
   * @throws UnclearExchange if it may have happened
   */
  async exchange(one: readonly [string, string], other: readonly [string, string]): Promise<void> {
    const at = async ([volume, folder]: readonly [string, string]): Promise<string> => {
      const { Mountpoint } = await api<{ Mountpoint: string }>(this.docker, "GET", `/volumes/${volume}`);
      return path.posix.join(Mountpoint, folder);
    };
    const paths = [await at(one), await at(other)];
    const root = path.posix.dirname(path.posix.dirname(await at([one[0], ""])));
    const id = await this.create("switchyard-exchange", {
      Entrypoint: ["mv"],
      Cmd: ["--exchange", "--no-target-directory", ...paths],
      HostConfig: { NetworkMode: "none", Binds: [`${root}:${root}`] },
    });
    try {
      let StatusCode: number;
      try {
        await api(this.docker, "POST", `/containers/${id}/start`);
        ({ StatusCode } = await api<{ StatusCode: number }>(this.docker, "POST", `/containers/${id}/wait`));
      } catch (error) {
        throw new UnclearExchange(messageOf(error), { cause: error });
      }
      if (StatusCode === 0) return;
      const query = { stdout: true, stderr: true };
      const log = await api<unknown>(this.docker, "GET", `/containers/${id}/logs`, { query });
      throw new Error(`the data cannot be exchanged: ${Buffer.isBuffer(log) ? textOf(log).trim() : ""}`);
    } finally {
      await remove(this.docker, id);
    }
  }
}
