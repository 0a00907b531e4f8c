/**
 * The certificates that are mounted: followed, tried, copied to our own folder, and put into the running worker. HAProxy
 * reads the copies only, so a file that is half written, expired or another's never meets it, whatever makes it reload.
 */
import { watch } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import {
  defaultCertificate,
  expired,
  inOrder,
  isCertificateName,
  readCertificate,
  type Certificate,
  type HttpsReport,
} from "./certificate";
import { writeWhole } from "../../../../lib/files";
import { certificateList } from "../config/frontend";
import { isTaken } from "../health/tcp-probe";
import type { HttpsOptions } from "../config/types";
import type { CertificateChange } from "../haproxy/types";
import { some } from "../../../../lib/text";

export interface TlsOptions extends HttpsOptions {
  /** Where certificates are mounted. */
  readonly source: string;
  /** Where HAProxy's files are. */
  readonly dir: string;
  readonly log: (message: string) => void;
  /** What HAProxy says against a configuration file. */
  readonly validate: (config: string) => Promise<string | undefined>;
  /** Lets `write` put the files in place and the running worker have the same; `reasons` ask for a reload as well. */
  readonly apply: (
    write: () => Promise<void>,
    changes: readonly CertificateChange[],
    reasons?: readonly string[],
  ) => Promise<void>;
}

/** A file that is being written, or a folder of links that is being turned over, is left to become whole. */
const settle = 200;
/** For file systems that tell nothing. */
const lookEvery = 10_000;

export class Certificates {
  private readonly served = new Map<string, Certificate>();
  /** File -> why it is not served. */
  private readonly refused = new Map<string, string>();
  /** File -> the content that has been decided about. */
  private readonly seen = new Map<string, string>();
  private readonly folder: string;
  private open = false;
  private complaint: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly options: TlsOptions) {
    this.folder = `${options.dir}/certificates`;
  }

  /** How HTTPS is offered; not at all without a certificate, or while another process has the port. */
  get https(): HttpsOptions | undefined {
    return this.open ? this.options : undefined;
  }

  async start(): Promise<void> {
    await this.recall().catch((error: unknown) => {
      this.complain(`what was served before cannot be read: ${reason(error)}`);
    });
    await this.look();
    try {
      watch(this.options.source, () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => void this.look(), settle);
      }).on("error", () => undefined);
    } catch {
      // Looking from time to time has to do.
    }
    setInterval(() => void this.look(), lookEvery).unref();
  }

  /** For the admin port. */
  report(time: number): HttpsReport {
    return {
      served: this.served,
      problems: [
        ...[...this.refused].map(([subject, message]) => ({
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

  /** Those that were good stay good, also over a restart that finds something worse mounted, or nothing. */
  private async recall(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await list(this.folder)) {
      const text = await readFile(this.copy(name), "utf8").catch(() => "");
      const copy = readCertificate(text);
      if (copy.ok) this.served.set(name, copy.value);
    }
    if (this.served.size > 0) await this.writeList(this.served);
  }

  private look(): Promise<void> {
    this.last = this.last.then(async () => {
      const unread = await this.follow().catch(
        (error: unknown) => `the certificates cannot be read: ${reason(error)}`,
      );
      // What has been good is offered, whatever has become of its source.
      const closed = await this.offer().catch(reason);
      this.complain([unread, closed].filter((each) => each !== undefined).join("; ") || undefined);
    });
    return this.last;
  }

  private complain(complaint: string | undefined): void {
    if (complaint !== undefined && complaint !== this.complaint) this.options.log(`HTTPS: ${complaint}`);
    this.complaint = complaint;
  }

  private refuse(name: string, why: string): void {
    const end = this.served.has(name) ? "The earlier one stays." : "It is not served.";
    const sentence = `certificate ${name} ${why}. ${end}`;
    if (this.refused.get(name) !== sentence) this.options.log(`HTTPS: ${sentence}`);
    this.refused.set(name, sentence);
  }

  /** Answers with what is wrong with the folder as a whole. */
  private async follow(): Promise<string | undefined> {
    const { source } = this.options;
    const names = await list(source);
    const fresh = new Map<string, Certificate>();
    const texts = new Map<string, string>();
    for (const name of names) {
      const text = await readFile(`${source}/${name}`, "utf8").catch((error: unknown) => {
        this.seen.delete(name);
        this.refuse(name, `cannot be read (${reason(error)}): let the container's user read it`);
      });
      if (text === undefined || this.seen.get(name) === text) continue;
      const certificate = await this.try(name, text);
      if (certificate === undefined) continue;
      fresh.set(name, certificate);
      texts.set(name, text);
    }
    const present = new Set(names);
    const gone = [...this.served.keys()].filter((name) => !present.has(name));
    for (const name of [...this.seen.keys(), ...this.refused.keys()])
      if (!present.has(name)) {
        this.seen.delete(name);
        this.refused.delete(name);
      }
    // Without any certificate HTTPS would end, which a folder that is empty for a moment must not bring about.
    if (gone.length > 0 && gone.length === this.served.size && fresh.size === 0)
      return `${source} has no certificate any more; the last ones stay`;
    await this.change(fresh, gone);
    // Not before: what could not be put in place is to be tried again.
    for (const [name, text] of texts) this.accept(name, text);
    return undefined;
  }

  private accept(name: string, text: string): void {
    this.seen.set(name, text);
    this.refused.delete(name);
  }

  /** Opens HTTPS once there is something to offer, or answers with why not. */
  private async offer(): Promise<string | undefined> {
    if (this.open) return undefined;
    const { source, port, redirect, log, apply } = this.options;
    const meanwhile = redirect ? ", and HTTP answers by itself in spite of --redirect-https" : "";
    if (this.served.size === 0)
      return `no HTTPS until ${source} has a certificate (NAME.pem with certificate, chain and key)${meanwhile}`;
    if (await isTaken(port))
      return `no HTTPS while another process on this machine has port ${port}${meanwhile}`;
    this.open = true;
    log(`HTTPS on port ${port}, for ${some(inOrder(this.served.keys()))}`);
    await apply(() => Promise.resolve(), []);
    return undefined;
  }

  /** Undefined, with a sentence in the log, when it cannot be served, or when it is served already. */
  private async try(name: string, text: string): Promise<Certificate | undefined> {
    const read = readCertificate(text, Date.now());
    if (!read.ok) {
      // It is looked at again: time alone can put it right.
      this.refuse(name, read.error);
      return undefined;
    }
    if (this.served.get(name)?.pem === read.value.pem) {
      this.accept(name, text);
      return undefined;
    }
    const why = await this.refusal(read.value);
    if (why === undefined) return read.value;
    this.seen.set(name, text);
    this.refuse(name, why);
    return undefined;
  }

  /** What HAProxy itself has against it, as against a key that is too short. */
  private async refusal({ pem }: Certificate): Promise<string | undefined> {
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
    // The running worker keeps the default one that it has read.
    const reasons =
      fresh.has(defaultCertificate) && !this.served.has(defaultCertificate)
        ? [`certificate ${defaultCertificate} is new, and the one for clients that name no host`]
        : [];
    await this.options.apply(write, changes, reasons);
    for (const name of gone) this.served.delete(name);
    for (const [name, certificate] of fresh) this.served.set(name, certificate);
    for (const [name, { names, expires }] of fresh)
      this.options.log(
        `HTTPS: certificate ${name} is served for ${some(names)} until ${new Date(expires).toISOString().slice(0, 10)}`,
      );
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

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function list(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(isCertificateName);
}
