import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterwards } from "./tear-down";

const prefix = "switchyard-e2e-";
const own = new Set<string>();

/** A temporary folder for a test's files. `remove` deletes it; if nobody calls it, `tearDown` does. */
export function scratch(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), prefix));
  own.add(path);
  const remove = (): void => {
    rmSync(path, { recursive: true, force: true });
  };
  afterwards(remove);
  return { path, remove };
}

/** Removes the folders that other processes made, and returns those that it removed. */
export function removeScratch(): string[] {
  const folders = readdirSync(tmpdir())
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(tmpdir(), name))
    .filter((path) => !own.has(path));
  return folders.filter((folder) => {
    try {
      rmSync(folder, { recursive: true });
      return true;
    } catch {
      // Another user's, such as root's. It is in nobody's way.
      return false;
    }
  });
}
