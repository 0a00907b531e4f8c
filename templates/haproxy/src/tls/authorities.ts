/**
 * Follows the mounted certificates of authorities: validates each file and copies it to our own folder, the only one that
 * HAProxy reads. What is wrong with a file concerns only the services that name it.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import { messageOf } from "../../../../lib/errors";
import { writeWhole } from "../../../../lib/files";
import { parsePemName, refuse } from "../../../../routing/grammar";
import { publicAuthorities } from "../../../../routing/options/proto";
import type { Problem } from "../../../../routing/types";
import { authorityFolder, type Authorities, type Authority } from "../config/authorities";
import { readAuthorities } from "./certificate";
import { followFolder } from "./folder";

export interface AuthorityOptions {
  /** The mounted folder, if there is one. */
  readonly source: string | undefined;
  /** The folder of HAProxy's files. */
  readonly dir: string;
  readonly log: (message: string) => void;
  /** Why HAProxy rejects a configuration file; undefined if it does not. */
  readonly validate: (config: string) => Promise<string | undefined>;
  /** What can be used has changed: HAProxy has to read the files again. */
  readonly changed: () => void;
}

export class AuthorityWatcher {
  private found: ReadonlyMap<string, Authority> = new Map();
  /** Why files cannot be used, by name. */
  private rejected: ReadonlyMap<string, string> = new Map();
  private complaint: string | undefined;
  private readonly folder: string;

  constructor(private readonly options: AuthorityOptions) {
    this.folder = authorityFolder(options.dir);
  }

  /** What HAProxy can use. */
  get authorities(): Authorities {
    return this.found;
  }

  /** All files, each with the reason why it cannot be used, if there is one. */
  get usable(): ReadonlyMap<string, string | undefined> {
    return new Map([...this.rejected, ...[...this.found.keys()].map((name) => [name, undefined] as const)]);
  }

  get problems(): readonly Problem[] {
    const wrong = [...this.rejected].map(([subject, why]) => ({
      subject,
      message: this.sentence(subject, why),
    }));
    const { complaint } = this;
    const all = complaint === undefined ? wrong : [...wrong, { subject: "authorities", message: complaint }];
    return all.map((each) => ({ level: "warning", ...each }));
  }

  async start(): Promise<void> {
    const { source } = this.options;
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await this.put(publicAuthorities, `${rootCertificates.join("\n")}\n`);
    if (source === undefined) return;
    await this.recall();
    await followFolder(source, () => this.look(source));
  }

  /** Uses the copies of the last run until they are replaced. */
  private async recall(): Promise<void> {
    for (const name of await list(this.folder)) {
      const copy = readAuthorities(await readFile(`${this.folder}/${name}`, "utf8").catch(() => ""));
      if (copy.ok) this.take(name, copy.value);
    }
  }

  private async look(source: string): Promise<void> {
    const names = await list(source).catch((error: unknown) => {
      this.complain(`the authorities in ${source} cannot be read: ${messageOf(error)}`);
    });
    if (names === undefined) return;
    const before = this.state;
    const rejected = new Map<string, string>();
    for (const name of names) {
      const why = await this.use(name, `${source}/${name}`);
      if (why !== undefined) rejected.set(name, why);
    }
    for (const [name, why] of rejected)
      if (this.rejected.get(name) !== why) this.options.log(this.sentence(name, why));
    this.rejected = rejected;
    this.forget(names, source);
    if (this.state !== before) this.options.changed();
  }

  /** What services and HAProxy see. */
  private get state(): string {
    return JSON.stringify([
      ...this.usable,
      ...[...this.found.values()].map(({ fingerprint }) => fingerprint),
    ]);
  }

  /** Returns why a file cannot be used. */
  private async use(name: string, file: string): Promise<string | undefined> {
    const read = await readFile(file, "utf8").then(readAuthorities, (error: unknown) =>
      refuse(`cannot be read (${messageOf(error)}): let the container's user read it`),
    );
    if (!read.ok) return read.error;
    if (this.found.get(name)?.pem === read.value) return undefined;
    const complaint = await this.haproxyComplaint(read.value);
    if (complaint !== undefined) return `is refused by HAProxy (${complaint})`;
    await this.put(name, read.value);
    this.options.log(`authority ${name} is new or has changed`);
    return undefined;
  }

  private async haproxyComplaint(pem: string): Promise<string | undefined> {
    const [file, config] = [
      `${this.options.dir}/authority.candidate.pem`,
      `${this.options.dir}/authority.cfg`,
    ];
    await writeWhole(file, pem);
    await writeWhole(config, `listen authority\n  mode tcp\n  bind :1\n  default-server ca-file ${file}\n`);
    const complaint = await this.options.validate(config);
    await rm(file);
    return complaint;
  }

  private forget(names: readonly string[], source: string): void {
    const mounted = [...this.found.keys()].filter((name) => name !== publicAuthorities);
    const gone = mounted.filter((name) => !names.includes(name));
    // A folder that is empty for a moment must not take services away.
    if (gone.length > 0 && gone.length === mounted.length) {
      this.complain(`${source} has no authority any more; the last ones stay`);
      return;
    }
    this.complain(undefined);
    for (const name of gone) {
      const left = new Map(this.found);
      left.delete(name);
      this.found = left;
      this.options.log(`authority ${name} is gone`);
    }
  }

  private async put(name: string, pem: string): Promise<void> {
    await writeWhole(`${this.folder}/${name}`, pem);
    this.take(name, pem);
  }

  private take(name: string, pem: string): void {
    const fingerprint = createHash("sha256").update(pem).digest("hex").slice(0, 12);
    this.found = new Map([...this.found, [name, { pem, fingerprint }]]);
  }

  private sentence(name: string, why: string): string {
    return `authority ${name} ${why}. ${this.found.has(name) ? "The earlier one stays." : "It is not used."}`;
  }

  private complain(complaint: string | undefined): void {
    if (complaint !== undefined && complaint !== this.complaint) this.options.log(complaint);
    this.complaint = complaint;
  }
}

const list = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => parsePemName(name).ok).sort();
