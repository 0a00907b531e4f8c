import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key"];

/** Creates a self-signed certificate for `name`, valid from yesterday until `days` from now, and its key. */
export function makeCertificate(name: string, { days = 2, weak = false } = {}): { pem: string; key: string } {
  const dir = mkdtempSync(join(tmpdir(), "certificate-"));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "ignore" });
  const date = (day: number) =>
    new Date(Date.now() + day * 86_400_000).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  try {
    const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
    openssl(
      ...(weak ? ["req", "-newkey", "rsa:512", "-nodes", "-keyout", "key"] : request),
      ...subject,
      "-out",
      "csr",
    );
    // In every version of OpenSSL, only `openssl ca` accepts dates.
    writeFileSync(
      join(dir, "cnf"),
      "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n",
    );
    writeFileSync(join(dir, "index"), "");
    const dates = ["-startdate", date(Math.min(-1, days - 1)), "-enddate", date(days)];
    openssl(
      "ca",
      "-batch",
      "-config",
      "cnf",
      "-selfsign",
      "-keyfile",
      "key",
      "-in",
      "csr",
      ...dates,
      "-notext",
      "-out",
      "pem",
    );
    return { pem: readFileSync(join(dir, "pem"), "utf8"), key: readFileSync(join(dir, "key"), "utf8") };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
