import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { newCrypter, openCrypter, passphrase } from "./secrets";

/** Written by `pulumi config set --secret` of CLI 3.260. */
const SALT = "v1:ODRWfKvagQk=:v1:vZL6yHq1++lLJCVs:KZ809bxAfKk3fsUjCeHCKWmUdAUuDA==";
const VALUE = "v1:oenguiBv39DexBpW:Bc2H/u8SNz0H7GI6vGPsST13KqemUA==";

describe("the passphrase secrets manager", () => {
  it("reads what the CLI wrote", async () => {
    const crypter = await openCrypter(SALT, "en-t-pass");
    expect(crypter.decrypt(VALUE)).toBe("s3cret");
  });

  it("rejects another passphrase and a damaged salt", async () => {
    await expect(openCrypter(SALT, "en-t-Pass")).rejects.toThrow("Incorrect passphrase");
    await expect(openCrypter("v1:short", "en-t-pass")).rejects.toThrow("malformed");
  });

  it("reads what it wrote itself, and encrypts each value differently", async () => {
    const { salt } = await newCrypter("");
    const crypter = await openCrypter(salt, "");
    expect(crypter.decrypt(crypter.encrypt("grüße"))).toBe("grüße");
    expect(crypter.encrypt("a")).not.toBe(crypter.encrypt("a"));
    expect(() => crypter.decrypt(VALUE)).toThrow();
  });

  it("takes the passphrase from the environment or a file, even an empty one", () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), "pass-")), "phrase");
    writeFileSync(file, " from a file \n");
    expect(passphrase({ PULUMI_CONFIG_PASSPHRASE: "" })).toBe("");
    expect(passphrase({ PULUMI_CONFIG_PASSPHRASE_FILE: file })).toBe("from a file");
    expect(() => passphrase({})).toThrow("PULUMI_CONFIG_PASSPHRASE");
    expect(() => passphrase({ PULUMI_CONFIG_PASSPHRASE_FILE: `${file}x` })).toThrow("cannot be read");
  });
});
