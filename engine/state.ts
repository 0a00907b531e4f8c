/** The stack's state: one JSON file per stack, replaced atomically after every operation. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { messageOf, UserError } from "../lib/errors";
import type { Goal } from "./goal";
import type { Crypter } from "./secrets";
import { isMapping } from "../lib/values";
import { isSecret, mapWire, SECRET, SIGNATURE, type Wire, type WireMap } from "./wire";

export interface ResourceState {
  urn: string;
  type: string;
  custom: boolean;
  id?: string;
  parent?: string;
  /** URN of the explicit provider. */
  provider?: string;
  inputs: WireMap;
  outputs: WireMap;
  dependencies: string[];
  propertyDependencies: Record<string, string[]>;
  protect?: boolean;
  retainOnDelete?: boolean;
  deletedWith?: string;
  /** Replaced, but not deleted yet. */
  pendingDelete?: boolean;
  /** Why the resource was created but is not ready. The next `up` updates it. */
  initErrors?: string[];
  /** Inputs that the real resource no longer matches. Found by a refresh, never saved. */
  drift?: string[];
}

export interface StackState {
  version: 1;
  stack: string;
  resources: ResourceState[];
  outputs: WireMap;
}

export const nameOf = (urn: string): string => urn.split("::").slice(3).join("::");

/**
 * Finds the state of a resource by its URN or an alias. If found by an alias, it gets its new URN, and so do all references
 * to it.
 */
export function findOld(
  resources: readonly ResourceState[],
  { urn, aliases }: Goal,
  registered: ReadonlySet<string>,
): ResourceState | undefined {
  const live = resources.filter((r) => !r.pendingDelete);
  const own = live.find((r) => r.urn === urn);
  if (own) return own;
  const old = live.find((r) => aliases.includes(r.urn) && !registered.has(r.urn));
  if (!old) return undefined;
  const former = old.urn;
  const renamed = (of: string): string => (of === former ? urn : of);
  for (const resource of resources) {
    resource.dependencies = resource.dependencies.map(renamed);
    if (resource.parent === former) resource.parent = urn;
    if (resource.provider === former) resource.provider = urn;
    if (resource.deletedWith === former) resource.deletedWith = urn;
    for (const [key, urns] of Object.entries(resource.propertyDependencies))
      resource.propertyDependencies[key] = urns.map(renamed);
  }
  old.urn = urn;
  return old;
}

const uses = (resource: ResourceState, urn: string): boolean =>
  resource.dependencies.includes(urn) || resource.parent === urn || resource.provider === urn;

/** Deletes resources in parallel, each after those that depend on it. */
export async function dependentsFirst(
  all: readonly ResourceState[],
  remove: (old: ResourceState) => Promise<void>,
): Promise<void> {
  const removals = new Map<ResourceState, Promise<void>>();
  const removal = (old: ResourceState): Promise<void> => {
    const known = removals.get(old);
    if (known) return known;
    removals.set(old, Promise.resolve()); // breaks a cycle, if there ever is one
    const users = all.filter((other) => other !== old && uses(other, old.urn)).map(removal);
    const mine = Promise.all(users).then(() => remove(old));
    removals.set(old, mine);
    return mine;
  };
  all.forEach((old) => void removal(old));
  await Promise.all(removals.values());
}

export function stateFile(dir: string, stack: string): string {
  return path.join(dir, ".switchyard", "state", `${stack}.json`);
}

export function emptyState(stack: string): StackState {
  return { version: 1, stack, resources: [], outputs: {} };
}

/** Encrypts secrets if the stack has a passphrase. */
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
        "The state contains encrypted secrets, but the stack file's `encryptionsalt` is gone: restore it from git.",
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
    throw new UserError(
      `The state ${file} cannot be read (${messageOf(error)}): make it readable for this user.`,
    );
  }
  let parsed: { version?: unknown };
  try {
    parsed = JSON.parse(text) as { version?: unknown };
  } catch (error) {
    throw new UserError(`The state ${file} is not JSON (${messageOf(error)}): restore it from a backup.`);
  }
  if (parsed.version !== 1)
    throw new UserError(`The state ${file} was written by another version of the engine: use that version.`);
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

/** Takes the stack's lock, even from a process that died. Returns the function that releases it. */
export function lockStack(file: string, say: (line: string) => void): () => void {
  const lock = `${file}.lock`;
  const mine = `${lock}.${String(process.pid)}`;
  mkdirSync(path.dirname(lock), { recursive: true, mode: 0o700 });
  writeFileSync(mine, String(process.pid), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, lock); // unlike open(O_EXCL), never shows the lock without its PID
        return () => {
          rmSync(lock, { force: true });
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const pid = holderOf(lock);
      if (pid !== undefined && isAlive(pid)) {
        throw new UserError(
          `Another run (process ${String(pid)}) is working on this stack: wait until it ends, or stop it with Ctrl-C. ` +
            `If that process is another program, remove the lock with script/cancel.`,
        );
      }
      // Only one of several processes succeeds in renaming the lock, and may delete it.
      const stale = `${lock}.stale.${String(process.pid)}`;
      try {
        renameSync(lock, stale);
      } catch {
        continue;
      }
      if (holderOf(stale) !== pid) renameSync(stale, lock);
      else {
        rmSync(stale, { force: true });
        say(`Took over the lock of an earlier run (process ${String(pid ?? 0)}) that no longer exists.`);
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
