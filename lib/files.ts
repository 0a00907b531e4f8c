/** Atomic file operations. */
import { open, readFile, rename, rm } from "node:fs/promises";

let writes = 0;

/**
 * Replaces a file atomically: writes and flushes a temporary file beside it, then renames that. Concurrent writes to the same
 * path do not disturb each other; the last one to finish wins.
 */
export async function writeWhole(path: string, content: string): Promise<void> {
  const beside = `${path}.${process.pid}-${writes++}.new`;
  try {
    const file = await open(beside, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

/** The content of a file; undefined if it does not exist. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
