/**
 * The certificates that are mounted: followed, tried, copied to our own folder, and put into the running worker. HAProxy
 * reads the copies only, so a file that is half written, expired or another's never meets it, whatever makes it reload.
 */
import { watch } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { inOrder, isCertificateName, readCertificate, type Certificate } from "./certificates";
import { writeWhole } from "./files";
import { certificateList } from "./frontend";
import { isTaken } from "./probe";
import type { HttpsOptions } from "./render";
import { some } from "./report";

/** As the worker is told. */
export interface CertificateChange {
  readonly kind: "new" | "replace" | "remove";
  /** The copy's path. */
  readonly file: string;
  readonly pem: string;
}

export interface TlsOptions extends HttpsOptions {
  /** Where certificates are mounted. */
  readonly source: string;
  /** Where HAProxy's files are. */
  readonly dir: string;
  readonly log: (message: string) => void;
  /** What HAProxy says against a configuration file. */
  readonly validate: (config: string) => Promise<string | undefined>;
  /** Lets `write` put the files in place and the running worker have the same. */
  readonly apply: (write: () => Promise<void>, changes: readonly CertificateChange[]) => Promise<void>;
}

/** A file that is being written, or a folder of links that is being turned over, is left to become whole. */
const settle = 200;
/** For file systems that tell nothing. */
const lookEvery = 10_000;

export class Certificates {
  readonly served = new Map<string, Certificate>();
  /** File -> why it is not served. */
  readonly refused = new Map<string, string>();
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
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    // Those that were good stay good, also over a restart that finds something worse mounted.
    for (const name of await list(this.folder)) {
      const copy = readCertificate(await readFile(this.copy(name), "utf8"));
      if (copy.ok) this.served.set(name, copy.value);
    }
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

  private look(): Promise<void> {
    this.last = this.last.then(() =>
      this.compare().catch((error: unknown) => {
        this.complain(
          `the certificates cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        );
      }),
    );
    return this.last;
  }

  private complain(complaint: string | undefined): void {
    if (complaint !== undefined && complaint !== this.complaint) this.options.log(`HTTPS: ${complaint}`);
    this.complaint = complaint;
  }

  private async compare(): Promise<void> {
    const { source, log } = this.options;
    const names = await list(source);
    const fresh = new Map<string, Certificate>();
    for (const name of names) {
      const text = await readFile(`${source}/${name}`, "utf8");
      if (this.seen.get(name) === text) continue;
      this.seen.set(name, text);
      const certificate = await this.try(name, text);
      if (certificate !== undefined) fresh.set(name, certificate);
    }
    const present = new Set(names);
    const gone = [...this.served.keys()].filter((name) => !present.has(name));
    for (const name of [...this.seen.keys(), ...this.refused.keys()])
      if (!present.has(name)) {
        this.seen.delete(name);
        this.refused.delete(name);
      }
    // Without any certificate HTTPS would end, which a folder that is empty for a moment must not bring about.
    const keepsAll = gone.length > 0 && gone.length === this.served.size && fresh.size === 0;
    if (!keepsAll) await this.change(fresh, gone);
    if (!this.open && this.served.size > 0 && !(await isTaken(this.options.port))) {
      this.open = true;
      log(`HTTPS on port ${this.options.port}, for ${some(inOrder(this.served.keys()))}`);
      await this.options.apply(() => Promise.resolve(), []);
    }
    this.complain(
      keepsAll
        ? `${source} has no certificate any more; the last ones stay`
        : this.served.size === 0
          ? `no HTTPS until ${source} has a certificate: NAME.pem with certificate, chain and key`
          : this.open
            ? undefined
            : `another process on this machine has port ${this.options.port}`,
    );
  }

  /** Undefined, with a sentence in the log, when it cannot be served, or when it is served already. */
  private async try(name: string, text: string): Promise<Certificate | undefined> {
    const read = readCertificate(text, Date.now());
    const why = read.ok ? await this.refusal(read.value) : read.error;
    const earlier = this.served.get(name);
    if (why !== undefined) {
      this.refused.set(name, why);
      this.options.log(
        `HTTPS: certificate ${name} ${why}. ${earlier === undefined ? "It is not served." : "The earlier one stays."}`,
      );
      return undefined;
    }
    this.refused.delete(name);
    return !read.ok || earlier?.pem === read.value.pem ? undefined : read.value;
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
    const write = async (): Promise<void> => {
      for (const [name, certificate] of fresh) {
        await writeWhole(this.copy(name), certificate.pem);
        this.served.set(name, certificate);
      }
      for (const name of gone) this.served.delete(name);
      const files = inOrder(this.served.keys()).map((name) => `${this.copy(name)}\n`);
      await writeWhole(certificateList(this.options.dir), files.join(""));
      for (const name of gone) await rm(this.copy(name), { force: true });
    };
    await this.options.apply(write, changes);
    for (const [name, { names, expires }] of fresh)
      this.options.log(
        `HTTPS: certificate ${name} is served for ${some(names)} until ${new Date(expires).toISOString().slice(0, 10)}`,
      );
    for (const name of gone) this.options.log(`HTTPS: certificate ${name} is gone`);
  }

  private copy(name: string): string {
    return `${this.folder}/${name}`;
  }
}

async function list(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(isCertificateName);
}
