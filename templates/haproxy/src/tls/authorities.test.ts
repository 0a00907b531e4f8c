import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { selfSigned } from "../testing";
import { AuthorityWatcher } from "./authorities";

const scratch = mkdtempSync(join(tmpdir(), "authorities-"));
let source: string;
let dir: string;
let log: string[];
const changed = vi.fn();

const [a, b] = [selfSigned("a").cert, selfSigned("b").cert];

afterAll(() => {
  rmSync(scratch, { recursive: true });
});
beforeEach(() => {
  source = mkdtempSync(join(scratch, "source-"));
  dir = mkdtempSync(join(scratch, "state-"));
  log = [];
  changed.mockReset();
});

const mount = (name: string, text: string) => {
  writeFileSync(join(source, name), text);
};
const copy = (name: string) => readFileSync(join(dir, "authorities", name), "utf8");

async function started(validate: () => string | undefined = () => undefined): Promise<AuthorityWatcher> {
  const watcher = new AuthorityWatcher({
    source,
    dir,
    log: (message) => log.push(message),
    validate: () => Promise.resolve(validate()),
    changed,
  });
  await watcher.start();
  return watcher;
}
const usable = (watcher: AuthorityWatcher) => [...watcher.usable.entries()].sort();

test("has the public authorities, whatever is mounted", async () => {
  const watcher = new AuthorityWatcher({
    source: undefined,
    dir,
    log: () => undefined,
    validate: () => Promise.resolve(undefined),
    changed,
  });
  await watcher.start();
  expect(usable(watcher)).toEqual([[".public.pem", undefined]]);
  expect(copy(".public.pem").match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(50);
});

test("copies the certificates of a file, and nothing else", async () => {
  mount("internal.pem", `# ours\n${a}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n${b}`);
  mount("notes.txt", "not one of them");
  const watcher = await started();
  expect(usable(watcher)).toEqual([
    [".public.pem", undefined],
    ["internal.pem", undefined],
  ]);
  expect(copy("internal.pem")).toBe(a + b);
});

test("says why a file cannot be used, and uses the others", async () => {
  mount("good.pem", a);
  mount("empty.pem", "");
  mount("broken.pem", a.replace(/[A-Za-z0-9]{20}/, "AAAAAAAAAAAAAAAAAAAA"));
  // A folder: nobody can read it as a file, not even root.
  mkdirSync(join(source, "unreadable.pem"));
  const watcher = await started();
  const why = Object.fromEntries(watcher.usable);
  expect(why["good.pem"]).toBeUndefined();
  expect(why["empty.pem"]).toContain("has no certificate");
  expect(why["broken.pem"]).toContain("has a certificate that cannot be read");
  expect(why["unreadable.pem"]).toContain("let the container's user read it");
  expect(watcher.problems.map(({ level, subject }) => `${level} ${subject}`).sort()).toEqual([
    "warning broken.pem",
    "warning empty.pem",
    "warning unreadable.pem",
  ]);
  expect(log.join()).toContain("authority empty.pem has no certificate");
});

test("does not use what HAProxy refuses", async () => {
  mount("odd.pem", a);
  const watcher = await started(() => "unable to load");
  expect(watcher.usable.get("odd.pem")).toBe("is refused by HAProxy (unable to load)");
  expect(watcher.authorities.has("odd.pem")).toBe(false);
});

test("uses a changed file, and keeps the earlier one if that cannot be used", async () => {
  mount("internal.pem", a);
  const watcher = await started();
  const before = watcher.authorities.get("internal.pem")?.fingerprint;
  changed.mockReset();
  mount("internal.pem", b);
  await vi.waitFor(() => {
    expect(copy("internal.pem")).toBe(b);
    expect(changed).toHaveBeenCalled();
  });
  expect(watcher.authorities.get("internal.pem")?.fingerprint).not.toBe(before);
  mount("internal.pem", "nothing");
  await vi.waitFor(() => {
    expect(watcher.problems[0]?.message).toContain("The earlier one stays.");
  });
  expect(watcher.usable.get("internal.pem")).toBeUndefined();
});

test("forgets a file that is gone, but not the last one", async () => {
  mount("one.pem", a);
  mount("two.pem", b);
  const watcher = await started();
  rmSync(join(source, "one.pem"));
  await vi.waitFor(() => {
    expect(watcher.usable.has("one.pem")).toBe(false);
  });
  rmSync(join(source, "two.pem"));
  await vi.waitFor(() => {
    expect(watcher.problems[0]?.message).toContain("has no authority any more; the last ones stay");
  });
  expect(watcher.usable.has("two.pem")).toBe(true);
  const next = await started();
  expect(next.usable.has("two.pem")).toBe(true);
});
