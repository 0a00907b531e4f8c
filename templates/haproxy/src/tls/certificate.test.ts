import { expect, test } from "vitest";
import { selfSigned } from "../testing";
import { inOrder, isCertificateName, readCertificate } from "./certificate";

const { cert: certificate, key } = selfSigned("a.test", ["a.test", "*.a.test"]);
const { key: otherKey } = selfSigned("b.test");

const day = 24 * 3_600_000;

test("reads certificate, chain and key in any order", () => {
  for (const text of [certificate + key, key + certificate, `# note\r\n${key}\n\n${certificate}\n`]) {
    const read = readCertificate(text, Date.now());
    expect(read).toMatchObject({ ok: true, value: { names: ["a.test", "*.a.test"] } });
    // An empty line would end the runtime command that carries it.
    expect(read.ok && read.value.pem).toMatch(/^-----BEGIN CERTIFICATE-----\n(?:[^\n]+\n)+$/);
  }
});

test.each([
  ["nothing", () => "", "no certificate"],
  ["no key", () => certificate, "no private key"],
  ["two keys", () => certificate + key + otherKey, "more than one private key"],
  ["the key of another certificate", () => certificate + otherKey, "does not belong"],
  [
    "a passphrase",
    () => `${certificate}-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n`,
    "passphrase",
  ],
  [
    "an invalid certificate",
    () => `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${key}`,
    "certificate that cannot be read",
  ],
  [
    "an invalid key",
    () => `${certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`,
    "private key that cannot be read",
  ],
])("rejects a file with %s", (_, text, why) => {
  expect(readCertificate(text(), Date.now())).toMatchObject({
    ok: false,
    error: expect.stringContaining(why) as string,
  });
});

test("accepts only a certificate that is valid now", () => {
  expect(readCertificate(certificate + key, Date.now() + 3 * day)).toMatchObject({
    ok: false,
    error: expect.stringMatching(/^expired on \d{4}-/) as string,
  });
  expect(readCertificate(certificate + key, Date.now() - day)).toMatchObject({
    ok: false,
    error: expect.stringContaining("not valid before") as string,
  });
});

test("default.pem comes first, and unsafe file names are ignored", () => {
  expect(inOrder(["b.pem", "default.pem", "a.pem"])).toEqual(["default.pem", "a.pem", "b.pem"]);
  expect(["a.pem", "x.example.com.pem", "_wild.pem"].every(isCertificateName)).toBe(true);
  expect(
    ["a b.pem", "../a.pem", ".pem", "a.pem\n", "a;b.pem", "-a.pem", "a.key"].some(isCertificateName),
  ).toBe(false);
});
