import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { TestProject } from "vitest/node" with { "resolution-mode": "import" };

/** Gives the tests a folder for their temporary files, and removes it with all that is left in it. */
export default function setup({ config }: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "switchyard-unit-"));
  config.env = { ...config.env, TMPDIR: folder };
  return () => {
    rmSync(folder, { recursive: true, force: true });
  };
}
