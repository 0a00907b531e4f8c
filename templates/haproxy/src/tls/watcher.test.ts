import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import type { CertificateChange } from "../config/certificates";
import { selfSigned } from "../testing";
import { CertificateWatcher, type TlsOptions } from "./watcher";

let scratch: string;
let pems: readonly string[];
let source: string;
let dir: string;
let log: string[];
let applied: { readonly changes: readonly CertificateChange[]; readonly reasons: readonly string[] }[];

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "tls-"));
  pems = ["a.test", "b.test", "a.test"].map((name) => {
    const { cert, key } = selfSigned(name);
    return cert + key;
  });
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});
beforeEach(() => {
  source = mkdtempSync(join(scratch, "source-"));
  dir = mkdtempSync(join(scratch, "state-"));
  log = [];
  applied = [];
});

const mount = (name: string, which: number) => {
  writeFileSync(join(source, name), pems[which] ?? "");
};
/** A folder: nobody can read it as a file, not even root. */
const mountUnreadable = (name: string) => {
  mkdirSync(join(source, name));
};
const list = () =>
  readFileSync(join(dir, "certificates.list"), "utf8").replaceAll(`${dir}/certificates/`, "");

async function started(options: Partial<TlsOptions> = {}): Promise<CertificateWatcher> {
  const certificates = new CertificateWatcher({
    source,
    dir,
    // Nobody listens on it.
    port: 26_997,
    redirect: false,
    log: (message) => log.push(message),
    listening: () => new Set(),
    validate: () => Promise.resolve(undefined),
    apply: async (write, changes, reasons = []) => {
      await write();
      applied.push({ changes, reasons });
    },
    ...options,
  });
  await certificates.start();
  return certificates;
}
const files = (certificates: CertificateWatcher) => [...certificates.report(Date.now()).served.keys()].sort();

test("an unreadable certificate is rejected by name until it can be read, and the others are served", async () => {
  mount("a.pem", 0);
  mountUnreadable("b.pem");
  const certificates = await started();
  expect(certificates.https).toBeDefined();
  expect(list()).toBe("a.pem\n");
  expect(certificates.report(Date.now()).problems).toMatchObject([
    { level: "quarantined", subject: "b.pem", message: expect.stringContaining("cannot be read") as string },
  ]);
  rmdirSync(join(source, "b.pem"));
  mount("b.pem", 1);
  await vi.waitFor(() => {
    expect(files(certificates)).toEqual(["a.pem", "b.pem"]);
  });
  expect(certificates.report(Date.now()).problems).toEqual([]);
});

test("a renewal that cannot be put in place is tried again", async () => {
  mount("a.pem", 0);
  let fails = false;
  const certificates = await started({
    apply: async (write, changes) => {
      if (fails) throw new Error("the disk is full");
      await write();
      applied.push({ changes, reasons: [] });
    },
  });
  fails = true;
  mount("a.pem", 2);
  await vi.waitFor(() => {
    expect(log.at(-1)).toContain("the disk is full");
  });
  fails = false;
  mount("other.txt", 1);
  await vi.waitFor(() => {
    expect(applied.at(-1)?.changes).toMatchObject([{ kind: "replace", pem: pems[2] }]);
  });
  expect(certificates.report(Date.now()).problems).toEqual([]);
});

test("after a restart the copies are served, even if the folder or one of them is gone", async () => {
  mount("a.pem", 0);
  mount("b.pem", 1);
  await started();
  rmSync(source, { recursive: true });
  rmSync(join(dir, "certificates/b.pem"));
  mkdirSync(join(dir, "certificates/b.pem"));
  const again = await started();
  expect(again.https).toBeDefined();
  expect(list()).toBe("a.pem\n");
  expect(again.report(Date.now()).problems).toMatchObject([{ level: "warning", subject: "HTTPS" }]);
});

test("without a certificate, HTTP answers in spite of --redirect-https, with a warning", async () => {
  const certificates = await started({ redirect: true });
  expect(certificates.https).toBeUndefined();
  const warning = expect.stringContaining("HTTP answers in spite of --redirect-https") as string;
  expect(log).toEqual([warning]);
  expect(certificates.report(Date.now()).problems).toMatchObject([{ level: "warning", message: warning }]);
});

test("a new default.pem asks for a reload, since a running worker keeps its default", async () => {
  mount("a.pem", 0);
  await started();
  mount("default.pem", 1);
  await vi.waitFor(() => {
    expect(applied.at(-1)?.reasons).toEqual([expect.stringContaining("default.pem is new")]);
  });
  expect(list()).toBe("default.pem\na.pem\n");
  mount("default.pem", 2);
  await vi.waitFor(() => {
    expect(applied.at(-1)).toMatchObject({ changes: [{ kind: "replace" }], reasons: [] });
  });
});

test("a certificate that HAProxy rejects is checked once and not served; expiry is reported", async () => {
  mount("a.pem", 0);
  const validate = vi.fn(() => Promise.resolve<string | undefined>("key too small"));
  const certificates = await started({ validate });
  expect(files(certificates)).toEqual([]);
  expect(existsSync(join(dir, "certificates/a.pem"))).toBe(false);
  mount("other.txt", 1);
  validate.mockResolvedValue(undefined);
  mount("b.pem", 1);
  await vi.waitFor(() => {
    expect(files(certificates)).toEqual(["b.pem"]);
  });
  expect(validate).toHaveBeenCalledTimes(2);
  expect(certificates.report(Date.now() + 3 * 24 * 3_600_000).problems).toMatchObject([
    { level: "quarantined", subject: "a.pem" },
    { level: "warning", subject: "b.pem", message: expect.stringContaining("expired on") as string },
  ]);
});

test("HTTPS waits for a port that another process has, but not for one that HAProxy has", async () => {
  mount("a.pem", 0);
  const server = createServer().listen(0, "0.0.0.0");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    expect((await started({ port })).https).toBeUndefined();
    expect(log).toContainEqual(expect.stringContaining(`another process on this machine has port ${port}`));
    expect((await started({ port, listening: () => new Set([port]) })).https).toMatchObject({ port });
  } finally {
    server.close();
  }
});
