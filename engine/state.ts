/** What the stack owns: one JSON file per stack, written beside and renamed after every operation. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { messageOf, UserError } from "../lib/errors";
import type { Crypter } from "./secrets";
import { isMapping } from "../lib/values";
import { isSecret, mapWire, SECRET, SIGNATURE, type Wire, type WireMap } from "./wire";

export interface ResourceState {
  urn: string;
  type: string;
  custom: boolean;
  id?: string;
  parent?: string;
  /** URN of the provider resource, if an explicit one is used. */
  provider?: string;
  inputs: WireMap;
  outputs: WireMap;
  dependencies: string[];
  propertyDependencies: Record<string, string[]>;
  protect?: boolean;
  retainOnDelete?: boolean;
  deletedWith?: string;
  /** Replaced, and still to be deleted. */
  pendingDelete?: boolean;
  /** Created, but not ready: the next `up` updates it. */
  initErrors?: string[];
  /** Seen by a refresh only, never saved: what of the real thing is not as it was left. */
  drift?: string[];
}

export interface StackState {
  version: 1;
  stack: string;
  resources: ResourceState[];
  outputs: WireMap;
}

export const nameOf = (urn: string): string => urn.split("::").slice(3).join("::");

export function stateFile(dir: string, stack: string): string {
  return path.join(dir, ".switchyard", "state", `${stack}.json`);
}

export function emptyState(stack: string): StackState {
  return { version: 1, stack, resources: [], outputs: {} };
}

/** Secrets are kept as ciphertext whenever the stack has a passphrase. */
function seal(value: Wire, crypter: Crypter | undefined): Wire {
  if (!crypter) return value;
  return mapWire(value, (v) =>
    isSecret(v) ? { [SIGNATURE]: SECRET, ciphertext: crypter.encrypt(JSON.stringify(v.value)) } : v,
  );
}

function unseal(value: Wire, crypter: Crypter | undefined): Wire {
  return mapWire(value, (v) => {
    if (!isMapping(v) || v[SIGNATURE] !== SECRET || typeof v.ciphertext !== "string") return v;
    if (!crypter) {
      throw new UserError(
        "The state holds encrypted secrets, but the stack file's `encryptionsalt` is gone: restore it.",
      );
    }
    return { [SIGNATURE]: SECRET, value: JSON.parse(crypter.decrypt(v.ciphertext)) as Wire };
  });
}

export function loadState(file: string, stack: string, crypter?: Crypter): StackState {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return emptyState(stack);
    throw new UserError(`The state ${file} cannot be read: ${messageOf(error)}`);
  }
  let parsed: { version?: unknown };
  try {
    parsed = JSON.parse(text) as { version?: unknown };
  } catch (error) {
    throw new UserError(`The state ${file} is not JSON (${messageOf(error)}): restore it from a backup.`);
  }
  if (parsed.version !== 1)
    throw new UserError(`The state ${file} was written by another version of the engine.`);
  return unseal(parsed as unknown as Wire, crypter) as unknown as StackState;
}

export function saveState(file: string, state: StackState, crypter?: Crypter): void {
  const resources = state.resources.map((resource) => ({ ...resource, drift: undefined }));
  const sealed = seal({ ...state, resources } as unknown as Wire, crypter);
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify(sealed, null, 2)}\n`;
  const beside = `${file}.${String(process.pid)}.tmp`;
  writeFileSync(beside, text, { mode: 0o600, flush: true });
  renameSync(beside, file);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Takes the stack's lock; returns what gives it back. The lock of a process that died is taken over. */
export function lockStack(file: string, say: (line: string) => void): () => void {
  const lock = `${file}.lock`;
  const mine = `${lock}.${String(process.pid)}`;
  mkdirSync(path.dirname(lock), { recursive: true, mode: 0o700 });
  writeFileSync(mine, String(process.pid), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, lock); // unlike open(O_EXCL), the lock is never seen without its pid
        return () => {
          rmSync(lock, { force: true });
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const pid = holderOf(lock);
      if (pid !== undefined && isAlive(pid)) {
        throw new UserError(
          `Another run (process ${String(pid)}) is working on this stack: wait until it ends, or stop it with Ctrl-C.`,
        );
      }
      // Renaming first makes sure that only one of several newcomers clears the lock.
      const stale = `${lock}.stale.${String(process.pid)}`;
      try {
        renameSync(lock, stale);
      } catch {
        continue;
      }
      if (holderOf(stale) !== pid) renameSync(stale, lock);
      else {
        rmSync(stale, { force: true });
        say(`The lock of an earlier run (process ${String(pid ?? 0)}) that is gone was taken over.`);
      }
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

function holderOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, "utf8")) || undefined;
  } catch {
    return undefined;
  }
}
