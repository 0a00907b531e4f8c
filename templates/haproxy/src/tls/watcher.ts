/**
 * Follows the mounted certificates: validates each, copies it to our own folder, and puts it into the running worker.
 * HAProxy reads only the copies, so no reload can make it read a file that is half written or invalid.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { messageOf } from "../../../../lib/errors";
import { writeWhole } from "../../../../lib/files";
import { isTaken } from "../../../../lib/tcp";
import { some } from "../../../../lib/text";
import type { HttpsOptions } from "../config/types";
import { certificateList, type CertificateChange } from "../config/certificates";
import {
  day,
  defaultCertificate,
  expired,
  inOrder,
  isCertificateName,
  readCertificate,
  type Certificate,
  type HttpsReport,
} from "./certificate";
import { followFolder } from "./folder";

export interface TlsOptions extends HttpsOptions {
  /** The folder of the mounted certificates. */
  readonly source: string;
  /** The folder of HAProxy's files. */
  readonly dir: string;
  readonly log: (message: string) => void;
  /** The ports that HAProxy listens on already. */
  readonly listening: () => ReadonlySet<number>;
  /** Why HAProxy rejects a configuration file; undefined if it does not. */
  readonly validate: (config: string) => Promise<string | undefined>;
  /** Calls `write` to put the files in place and makes the same changes in the running worker; reloads for `reasons`. */
  readonly apply: (
    write: () => Promise<void>,
    changes: readonly CertificateChange[],
    reasons?: readonly string[],
  ) => Promise<void>;
}

export class CertificateWatcher {
  private readonly served = new Map<string, Certificate>();
  /** Why each file is not served, by name. */
  private readonly rejected = new Map<string, string>();
  /** The content of each file that has been dealt with, by name. */
  private readonly seen = new Map<string, string>();
  private readonly folder: string;
  private open = false;
  private complaint: string | undefined;

  constructor(private readonly options: TlsOptions) {
    this.folder = `${options.dir}/certificates`;
  }

  /** How HTTPS is offered; undefined without a certificate, and while another process has the port. */
  get https(): HttpsOptions | undefined {
    return this.open ? this.options : undefined;
  }

  async start(): Promise<void> {
    await this.recall().catch((error: unknown) => {
      this.complain(`the certificates served before cannot be read: ${messageOf(error)}`);
    });
    await followFolder(this.options.source, () => this.look());
  }

  /** The state of HTTPS at `time`, in milliseconds since 1970. */
  report(time: number): HttpsReport {
    return {
      served: this.served,
      problems: [
        ...[...this.rejected].map(([subject, message]) => ({
          level: "quarantined" as const,
          subject,
          message,
        })),
        ...(this.complaint === undefined
          ? []
          : [{ level: "warning" as const, subject: "HTTPS", message: this.complaint }]),
        ...expired(this.served, time),
      ],
    };
  }

  /** Serves the copies of the last run again, whatever is mounted now. */
  private async recall(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await list(this.folder)) {
      const text = await readFile(this.copy(name), "utf8").catch(() => "");
      const copy = readCertificate(text);
      if (copy.ok) this.served.set(name, copy.value);
    }
    if (this.served.size > 0) await this.writeList(this.served);
  }

  private async look(): Promise<void> {
    const unread = await this.follow().catch(
      (error: unknown) => `the certificates cannot be read: ${messageOf(error)}`,
    );
    // A failure to read the source must not keep the copies from being served.
    const closed = await this.offer().catch(messageOf);
    this.complain([unread, closed].filter((each) => each !== undefined).join("; ") || undefined);
  }

  private complain(complaint: string | undefined): void {
    if (complaint !== undefined && complaint !== this.complaint) this.options.log(`HTTPS: ${complaint}`);
    this.complaint = complaint;
  }

  private reject(name: string, why: string): void {
    const end = this.served.has(name) ? "The earlier one stays." : "It is not served.";
    const sentence = `certificate ${name} ${why}. ${end}`;
    if (this.rejected.get(name) !== sentence) this.options.log(`HTTPS: ${sentence}`);
    this.rejected.set(name, sentence);
  }

  /** Returns what is wrong with the folder as a whole, if anything. */
  private async follow(): Promise<string | undefined> {
    const { source } = this.options;
    const names = await list(source);
    const fresh = new Map<string, Certificate>();
    const texts = new Map<string, string>();
    for (const name of names) {
      const text = await readFile(`${source}/${name}`, "utf8").catch((error: unknown) => {
        this.seen.delete(name);
        this.reject(name, `cannot be read (${messageOf(error)}): let the container's user read it`);
      });
      if (text === undefined || this.seen.get(name) === text) continue;
      const certificate = await this.check(name, text);
      if (certificate === undefined) continue;
      fresh.set(name, certificate);
      texts.set(name, text);
    }
    const present = new Set(names);
    const gone = [...this.served.keys()].filter((name) => !present.has(name));
    for (const name of [...this.seen.keys(), ...this.rejected.keys()])
      if (!present.has(name)) {
        this.seen.delete(name);
        this.rejected.delete(name);
      }
    // A folder that is empty for a moment must not end HTTPS.
    if (gone.length > 0 && gone.length === this.served.size && fresh.size === 0)
      return `${source} has no certificate any more; the last ones stay`;
    await this.change(fresh, gone);
    // Only now, so that a certificate that could not be put in place is tried again.
    for (const [name, text] of texts) this.accept(name, text);
    return undefined;
  }

  private accept(name: string, text: string): void {
    this.seen.set(name, text);
    this.rejected.delete(name);
  }

  /** Opens HTTPS once there is a certificate, or returns why not. */
  private async offer(): Promise<string | undefined> {
    if (this.open) return undefined;
    const { source, port, redirect, log, listening, apply } = this.options;
    const meanwhile = redirect ? "; HTTP answers in spite of --redirect-https" : "";
    if (this.served.size === 0)
      return `no HTTPS until ${source} has a certificate (NAME.pem with certificate, chain and key)${meanwhile}`;
    if (!listening().has(port) && (await isTaken(port)))
      return `no HTTPS while another process on this machine has port ${port}${meanwhile}`;
    this.open = true;
    log(`HTTPS on port ${port}, for ${some(inOrder(this.served.keys()))}`);
    await apply(() => Promise.resolve(), []);
    return undefined;
  }

  /** Returns the certificate to serve; undefined if it is invalid, which is logged, or already served. */
  private async check(name: string, text: string): Promise<Certificate | undefined> {
    const read = readCertificate(text, Date.now());
    if (!read.ok) {
      // Not marked as seen: it may become valid with time.
      this.reject(name, read.error);
      return undefined;
    }
    if (this.served.get(name)?.pem === read.value.pem) {
      this.accept(name, text);
      return undefined;
    }
    const why = await this.haproxyComplaint(read.value);
    if (why === undefined) return read.value;
    this.seen.set(name, text);
    this.reject(name, why);
    return undefined;
  }

  /** Why HAProxy itself rejects it, for example for a key that is too short. */
  private async haproxyComplaint({ pem }: Certificate): Promise<string | undefined> {
    const [file, config] = [
      `${this.options.dir}/certificate.candidate.pem`,
      `${this.options.dir}/certificate.cfg`,
    ];
    await writeWhole(file, pem);
    await writeWhole(
      config,
      `frontend certificate\n  mode http\n  timeout client 1s\n  bind :${this.options.port} ssl crt ${file}\n`,
    );
    const complaint = await this.options.validate(config);
    await rm(file);
    return complaint === undefined ? undefined : `is refused by HAProxy (${complaint})`;
  }

  private async change(fresh: ReadonlyMap<string, Certificate>, gone: readonly string[]): Promise<void> {
    if (fresh.size + gone.length === 0) return;
    const changes = [
      ...[...fresh].map(([name, { pem }]): CertificateChange => {
        return { kind: this.served.has(name) ? "replace" : "new", file: this.copy(name), pem };
      }),
      ...gone.map((name): CertificateChange => ({ kind: "remove", file: this.copy(name), pem: "" })),
    ];
    const served = new Map([...this.served, ...fresh]);
    for (const name of gone) served.delete(name);
    const write = async (): Promise<void> => {
      for (const [name, { pem }] of fresh) await writeWhole(this.copy(name), pem);
      await this.writeList(served);
      for (const name of gone) await rm(this.copy(name), { force: true });
    };
    // A running worker keeps its default certificate.
    const reasons =
      fresh.has(defaultCertificate) && !this.served.has(defaultCertificate)
        ? [`certificate ${defaultCertificate} is new and becomes the default`]
        : [];
    await this.options.apply(write, changes, reasons);
    for (const name of gone) this.served.delete(name);
    for (const [name, certificate] of fresh) this.served.set(name, certificate);
    for (const [name, { names, expires }] of fresh)
      this.options.log(`HTTPS: certificate ${name} is served for ${some(names)} until ${day(expires)}`);
    for (const name of gone) this.options.log(`HTTPS: certificate ${name} is gone`);
  }

  private async writeList(served: ReadonlyMap<string, Certificate>): Promise<void> {
    const files = inOrder(served.keys()).map((name) => `${this.copy(name)}\n`);
    await writeWhole(certificateList(this.options.dir), files.join(""));
  }

  private copy(name: string): string {
    return `${this.folder}/${name}`;
  }
}

async function list(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(isCertificateName);
}
