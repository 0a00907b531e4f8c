/**
 * Pulumi's passphrase secrets manager (pkg/secrets/passphrase, sdk/go/common/resource/config/crypt.go), so that either
 * engine can read the other's stack files.
 */
import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { messageOf, UserError } from "../lib/errors";

const ITERATIONS = 1_000_000;
const CHECK_WORD = "pulumi";

export interface Crypter {
  readonly salt: string;
  encrypt(text: string): string;
  decrypt(text: string): string;
}

export function passphrase(env: NodeJS.ProcessEnv = process.env): string {
  if (env.PULUMI_CONFIG_PASSPHRASE !== undefined) return env.PULUMI_CONFIG_PASSPHRASE;
  const file = env.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (!file) {
    throw new UserError(
      "The stack has secrets, but no passphrase was given: set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
    );
  }
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new UserError(
      `PULUMI_CONFIG_PASSPHRASE_FILE cannot be read (${messageOf(error)}): correct it, or set PULUMI_CONFIG_PASSPHRASE.`,
    );
  }
}

async function crypterFor(phrase: string, salt: Buffer): Promise<Omit<Crypter, "salt">> {
  const key = await promisify(pbkdf2)(phrase, salt, ITERATIONS, 32, "sha256");
  return {
    encrypt(text) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const data = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1:${nonce.toString("base64")}:${data.toString("base64")}`;
    },
    decrypt(text) {
      const [version, nonce, data] = text.split(":");
      if (version !== "v1" || !nonce || !data)
        throw new Error("not a value encrypted by Pulumi's passphrase manager");
      const bytes = Buffer.from(data, "base64");
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
      decipher.setAuthTag(bytes.subarray(-16));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString("utf8");
      } catch {
        throw new UserError(
          "A secret was encrypted with another passphrase or `encryptionsalt`: restore the stack file from git.",
        );
      }
    },
  };
}

/** The crypter for a stack file's `encryptionsalt`. */
export async function openCrypter(salt: string, phrase: string): Promise<Crypter> {
  const [version, bytes, ...check] = salt.split(":");
  if (version !== "v1" || !bytes || check.length !== 3) {
    throw new UserError("The stack file's `encryptionsalt` is malformed: restore it from git.");
  }
  const crypter = await crypterFor(phrase, Buffer.from(bytes, "base64"));
  let word: string | undefined;
  try {
    word = crypter.decrypt(check.join(":"));
  } catch {
    // A wrong key fails the authentication tag.
  }
  if (word !== CHECK_WORD) {
    throw new UserError(
      "Incorrect passphrase: set PULUMI_CONFIG_PASSPHRASE(_FILE) to the one that the stack was created with.",
    );
  }
  return { ...crypter, salt };
}

export async function newCrypter(phrase: string): Promise<Crypter> {
  const bytes = randomBytes(8);
  const crypter = await crypterFor(phrase, bytes);
  return { ...crypter, salt: `v1:${bytes.toString("base64")}:${crypter.encrypt(CHECK_WORD)}` };
}
