import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

// Faults of the renderer: a script that Node.js loads into each thread before our code. In the renderer's thread, it throws, or does
// nothing else, while a file is there.

/**
 * Writes the script into a folder, which the load balancer's container sees as `inside`. Returns the variable that loads it there.
 */
export function rendererFaults(folder: string, inside: string): { readonly NODE_OPTIONS: string } {
  const script = `
const { existsSync } = require("node:fs");
if (!require("node:worker_threads").isMainThread)
  setInterval(() => {
    if (existsSync("${inside}/crash")) throw new Error("a fault of the test");
    while (existsSync("${inside}/hang"));
  }, 10).unref();
`;
  writeFileSync(join(folder, "renderer-faults.js"), script);
  return { NODE_OPTIONS: `--require=${inside}/renderer-faults.js` };
}

/** Has the renderer fail as soon as it runs, until the returned function is called. */
export const crashRenderer = (folder: string): (() => void) => mark(folder, "crash");

/** Has the renderer do nothing, until the returned function is called. */
export const hangRenderer = (folder: string): (() => void) => mark(folder, "hang");

function mark(folder: string, name: string): () => void {
  const file = join(folder, name);
  writeFileSync(file, "");
  return () => {
    rmSync(file);
  };
}
