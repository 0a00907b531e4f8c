import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  consulCertificatesProvider as provider,
  isRenewalDue,
  renew,
  type Certificates,
} from "./consul-certificates";

const DAY = 86_400_000;
const YEAR = 365 * DAY;
const start = Date.UTC(2026, 10, 29);
const names = { one: "server.dc1.consul", two: "client.dc1.consul" };
const nothing: Certificates = { authorities: [], agents: {} };

const folder = mkdtempSync(join(tmpdir(), "certificates-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function openssl(files: Readonly<Record<string, string>>, ...args: string[]): string {
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
}

/** Whether an agent that trusts these authorities takes a certificate, at a time and as either end of a connection. */
function isTaken(by: Certificates, certificate: string, now: number): boolean {
  const files = { ca: by.authorities.map((each) => each.certificate).join(""), certificate };
  const at = ["-attime", String(Math.floor(now / 1000)), "-x509_strict", "-CAfile", "ca"];
  try {
    for (const purpose of ["sslserver", "sslclient"])
      openssl(files, "verify", ...at, "-purpose", purpose, "certificate");
    return true;
  } catch {
    return false;
  }
}

const certificateOf = ({ agents }: Certificates, node: keyof typeof names) =>
  agents[node] ?? expect.fail(`there is no certificate for ${node}`);

describe("the certificates of a stack", () => {
  test("are taken by OpenSSL, each with its key and the name of its role", async () => {
    const made = await renew(nothing, names, start);
    for (const node of ["one", "two"] as const) {
      const { certificate, key } = certificateOf(made, node);
      expect(isTaken(made, certificate, start)).toBe(true);
      const check = openssl({ certificate }, "x509", "-noout", "-in", "certificate", "-checkhost", names.one);
      expect(check).toContain(node === "one" ? "does match" : "does NOT match");
      const publicKey = openssl({ certificate }, "x509", "-noout", "-pubkey", "-in", "certificate");
      expect(openssl({ key }, "pkey", "-pubout", "-in", "key")).toBe(publicKey);
    }
  });

  test("do not sign others, and are not taken by another stack", async () => {
    const [made, other] = await Promise.all([renew(nothing, names, start), renew(nothing, names, start)]);
    const { certificate } = certificateOf(made, "one");
    expect(openssl({ certificate }, "x509", "-noout", "-text", "-in", "certificate")).toContain("CA:FALSE");
    expect(isTaken(other, certificate, start)).toBe(false);
  });

  test("are new for a new node and for a node with another role, and the others stay", async () => {
    const made = await renew(nothing, names, start);
    const wished = { ...names, two: names.one, three: names.two };
    expect(isRenewalDue(made, names, start)).toBe(false);
    expect(isRenewalDue(made, wished, start)).toBe(true);
    const next = await renew(made, wished, start);
    expect(next.authorities).toEqual(made.authorities);
    expect(next.agents["one"]).toEqual(made.agents["one"]);
    expect(next.agents["two"]).toMatchObject({ name: names.one });
    expect(Object.keys(next.agents)).toEqual(["one", "two", "three"]);
    expect(isRenewalDue(next, names, start)).toBe(true);
    expect(Object.keys((await renew(next, names, start)).agents)).toEqual(["one", "two"]);
  });

  test("are made again when half of their time is over", async () => {
    const made = await renew(nothing, names, start);
    expect(isRenewalDue(made, names, start + 4 * YEAR - DAY)).toBe(false);
    expect(isRenewalDue(made, names, start + 4 * YEAR)).toBe(true);
    const next = await renew(made, names, start + 4 * YEAR);
    expect(next.authorities).toEqual(made.authorities);
    expect(next.agents["one"]?.certificate).not.toBe(made.agents["one"]?.certificate);
  });
});

describe("an authority", () => {
  test("is trusted for 30 days before it signs", async () => {
    let kept = await renew(nothing, names, start);
    for (const years of [4, 8]) kept = await renew(kept, names, start + years * YEAR);
    const overlap = await renew(kept, names, start + 10 * YEAR);
    expect(overlap.authorities).toHaveLength(2);
    expect(overlap.agents).toEqual(kept.agents);
    const early = await renew(overlap, { ...names, three: names.two }, start + 10 * YEAR + 29.5 * DAY);
    const late = await renew(overlap, { ...names, three: names.two }, start + 10 * YEAR + 30.5 * DAY);
    const now = start + 11 * YEAR;
    expect(isTaken(kept, early.agents["three"]?.certificate ?? "", now)).toBe(true);
    expect(isTaken(kept, late.agents["three"]?.certificate ?? "", now)).toBe(false);
    expect(isTaken(overlap, late.agents["three"]?.certificate ?? "", now)).toBe(true);
  });

  // An update writes the files of one node after the other, and reaches no node that is off.
  test("never costs a connection, whenever somebody updates", async () => {
    const daysBetween = fc.array(fc.integer({ min: 0, max: 4 * 365 - 2 }), { minLength: 1, maxLength: 15 });
    await fc.assert(
      fc.asyncProperty(daysBetween, async (updates) => {
        let now = start;
        let kept = await renew(nothing, names, now);
        for (const days of updates) {
          now += days * DAY;
          const next = isRenewalDue(kept, names, now) ? await renew(kept, names, now) : kept;
          for (const [by, of] of [
            [kept, next],
            [next, kept],
            [next, next],
          ] as const)
            for (const { certificate } of Object.values(of.agents))
              expect(isTaken(by, certificate, now)).toBe(true);
          kept = next;
        }
      }),
      { numRuns: 5 },
    );
  }, 60_000);

  test("that has ended is replaced, with all that it signed", async () => {
    const now = start + 40 * YEAR;
    const next = await renew(await renew(nothing, names, start), names, now);
    expect(next.authorities).toHaveLength(1);
    for (const { certificate } of Object.values(next.agents))
      expect(isTaken(next, certificate, now)).toBe(true);
  });
});

test("the version changes with a certificate, and tells no key", async () => {
  const { outs } = await provider.create({ names });
  if (outs === undefined) throw new Error("there are no certificates");
  expect(await provider.diff?.("certificates", outs, { names })).toEqual({ changes: false });
  const { one } = names;
  expect(await provider.diff?.("certificates", outs, { names: { one } })).toEqual({ changes: true });
  const next = await provider.update?.("certificates", outs, { names: { one } });
  expect(next?.outs?.version).toMatch(/^[0-9a-f]{16}$/);
  expect(next?.outs?.version).not.toBe(outs.version);
});
