/** Time and memory of the autoscaler's core, measured in a process of its own, bundled as its image is. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { buildSync } from "esbuild";

export interface Footprint {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostMs: number;
  /** The highest memory of the process, with Node.js itself. */
  readonly megabytes: number;
}

/** Those of the image: a young generation of 4 MB, as most of what a tick makes is gone after it. */
const nodeFlags = ["--max-semi-space-size=4"];

/** Runs the core with so many services for so many simulated minutes. */
export function measureFootprint(services: number, minutes: number): Footprint {
  const folder = mkdtempSync(join(tmpdir(), "switchyard-scale-"));
  try {
    const outfile = join(folder, "load.js");
    buildSync({
      entryPoints: [join(__dirname, "scale-load.ts")],
      outfile,
      bundle: true,
      platform: "node",
      target: "node20",
    });
    const output = execFileSync(
      process.execPath,
      [...nodeFlags, outfile, String(services), String(minutes)],
      {
        encoding: "utf8",
        timeout: 300_000,
      },
    );
    return JSON.parse(output) as Footprint;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
