/** Runs restic. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { UserError } from "../../../lib/errors";
import { isMapping, parseJson } from "../../../lib/values";
import type { Place } from "./options";

export interface Snapshot {
  readonly id: string;
  readonly time: string;
  readonly host: string;
  readonly paths: readonly string[];
}

/** restic's exit codes. */
const noRepository = 10;
const locked = 11;
const wrongPassword = 12;
export const incomplete = 3;

const draft = ":draft";
/** Whose a snapshot is until it is known to be whole: restic also stores one that lacks files. */
export const draftOf = (host: string): string => `${host}${draft}`;

/** Whether a disk was full, as restic says it of every file. */
export const isFull = (errors: string): boolean => /no space left on device|quota exceeded/i.test(errors);

/** A secret of the stack: a file, as Swarm mounts it, or else a variable. */
export function secretOf(name: string): string | undefined {
  const file = path.join("/run/secrets", name);
  return existsSync(file) ? readFileSync(file, "utf8").trim() : process.env[name.toUpperCase()];
}

/** What restic sees of this program's environment, and its own variables. */
function environment(repository: string): NodeJS.ProcessEnv {
  const variables = {
    PATH: process.env["PATH"],
    HOME: "/tmp",
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD: secretOf("backup_password"),
    AWS_ACCESS_KEY_ID: secretOf("backup_s3_access_key"),
    AWS_SECRET_ACCESS_KEY: secretOf("backup_s3_secret_key"),
  };
  return Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined));
}

/** Options for sftp: the key and the known hosts are those of the stack, and nothing is asked. */
function sshOptions(repository: string): string[] {
  if (!repository.startsWith("sftp:")) return [];
  const files = { key: "/tmp/ssh_key", hosts: "/tmp/ssh_known_hosts" };
  const key = secretOf("backup_ssh_key");
  writeFileSync(files.key, key === undefined ? "" : `${key}\n`, { mode: 0o600 });
  writeFileSync(files.hosts, `${secretOf("backup_ssh_known_hosts") ?? ""}\n`, { mode: 0o600 });
  const ssh = [
    ...["-i", files.key],
    ...["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=20"],
    ...[`UserKnownHostsFile=${files.hosts}`, "ServerAliveInterval=15"],
  ];
  const args = ssh.map((each) => (each.includes("=") ? `-o ${each}` : each)).join(" ");
  return ["-o", `sftp.args=${args}`];
}

export interface Ended {
  readonly code: number;
  /** The end of what it said on standard error. */
  readonly errors: string;
}

export class Restic {
  private readonly env: NodeJS.ProcessEnv;
  private readonly options: readonly string[];

  constructor(readonly place: Place) {
    this.env = environment(place.repository);
    // The cache would be gone with the container.
    this.options = ["--no-cache", "--retry-lock=30m", ...sshOptions(place.repository)];
  }

  /** Starts restic. Its standard error goes to this program's, its output to `stdout`. */
  start(args: readonly string[], stdout: "pipe" | "inherit"): { child: ChildProcess; ended: Promise<Ended> } {
    const child = spawn("restic", [...this.options, ...args], {
      env: this.env,
      stdio: ["ignore", stdout, "pipe"],
    });
    let errors = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-2_000);
    });
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => {
        resolve({ code: code ?? 1, errors: errors.trim() });
      });
    });
    return { child, ended };
  }

  /** Runs `restic backup`, whose output everybody sees. `id` is that of the snapshot, which is not whole with exit code 3. */
  async backUp(args: readonly string[]): Promise<Ended & { readonly id?: string }> {
    const { child, ended } = this.start(["backup", ...args], "pipe");
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      output = (output + chunk.toString()).slice(-2_000);
    });
    const { code, errors } = await ended;
    const [, id] = /^snapshot ([0-9a-f]{8,64}) saved$/m.exec(output) ?? [];
    return { code, errors, ...(id !== undefined && { id }) };
  }

  /** @throws UserError unless it succeeds */
  async run(args: readonly string[]): Promise<string> {
    const { child, ended } = this.start(args, "pipe");
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    this.check(await ended);
    return output;
  }

  check({ code, errors }: Ended): void {
    if (code === 0) return;
    const { repository } = this.place;
    if (code === noRepository)
      throw new UserError(`There are no backups at ${repository}: correct it, or make one first`);
    if (code === wrongPassword)
      throw new UserError(
        `The password does not fit the backups at ${repository}: set backup_password to the one that they were made with`,
      );
    if (code === locked)
      throw new UserError(
        `Something else works on the backups at ${repository}, or was killed less than half an hour ago: try again later`,
      );
    if (isFull(errors))
      throw new UserError(
        `There is no room left at ${repository}: make room there, and set keep to keep fewer backups`,
      );
    throw new UserError(`restic failed (exit code ${code}): ${errors || "it gave no reason"}`);
  }

  /** Makes the repository unless there is one. */
  async prepare(): Promise<void> {
    if (this.place.repository.startsWith("s3:")) {
      // `cat` would wait for minutes for a bucket that does not exist; `init` makes it.
      const made = await this.start(["init", "--quiet"], "pipe").ended;
      if (!/config (file )?already (exists|initialized)/.test(made.errors)) {
        this.check(made);
        return;
      }
    }
    const { ended } = this.start(["cat", "config", "--quiet", "--no-lock"], "pipe");
    const found = await ended;
    if (found.code === noRepository) await this.run(["init", "--quiet"]);
    else this.check(found);
  }

  /** The stack's snapshots, newest last; of all stacks if `id` names one. */
  async snapshots(path?: string): Promise<Snapshot[]> {
    const ofPath = path === undefined ? [] : ["--path", path];
    const text = await this.run(["snapshots", "--json", "--no-lock", "--host", this.place.host, ...ofPath]);
    return snapshotsIn(text);
  }

  /**
   * The snapshot to restore, and its path: the last one of that path, or one by its ID, which may be of something else of that kind,
   * such as a volume that had another name.
   *
   * @throws UserError if there is none
   */
  async find(snapshot: string, wanted: string): Promise<{ readonly id: string; readonly path: string }> {
    const { repository, host } = this.place;
    if (snapshot !== "latest") {
      const [found] = snapshotsIn(await this.run(["snapshots", "--json", "--no-lock", snapshot]));
      if (found?.host.endsWith(draft))
        throw new UserError(
          `Snapshot ${snapshot} is the draft of a backup, and may lack files: choose one that --list shows`,
        );
      const [only = "", ...others] = found?.paths ?? [];
      const isAlike =
        /^(\/volumes)?\/[A-Za-z0-9._-]+$/.test(only) && path.dirname(only) === path.dirname(wanted);
      if (found !== undefined && isAlike && others.length === 0) return { id: found.id, path: only };
      const what = found?.paths.join(", ") ?? "nothing";
      throw new UserError(`Snapshot ${snapshot} is of ${what}, and not like ${wanted}: choose another one`);
    }
    const last = (await this.snapshots(wanted)).at(-1);
    if (last !== undefined) return { id: last.id, path: wanted };
    throw new UserError(
      `${repository} has no backup of ${wanted} of stack ${host}: make one first, or name a snapshot of another stack with --snapshot`,
    );
  }
}

/** Reads the answer to `restic snapshots --json`. */
export function snapshotsIn(text: string): Snapshot[] {
  const all = parseJson(text);
  if (!Array.isArray(all)) return [];
  return all
    .filter(isMapping)
    .map(({ short_id: id, time, hostname, paths }) => ({
      id: String(id),
      time: String(time),
      host: String(hostname),
      paths: Array.isArray(paths) ? paths.map(String) : [],
    }))
    .sort((one, other) => Date.parse(one.time) - Date.parse(other.time));
}
