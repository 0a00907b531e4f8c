import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { expect, vi } from "vitest";

import type { FakeVBoxManage } from "../../components/nodes/virtualbox/fake-vboxmanage";
import type { RunResult } from "../../lib/run";
import { scratch } from "../e2e/scratch";
import { afterwards } from "../e2e/tear-down";

/** Debian's image, once it is downloaded and converted. */
export const baseDisk = ".switchyard/images/78f658893d7aecb5.vdi";

type Program = (args: readonly string[]) => RunResult | Promise<RunResult>;

/** Puts programs that `script/up` runs first in PATH. Each runs in this process. Returns their folder. */
export function installPrograms(programs: Readonly<Record<string, Program>>): string {
  const { path: bin } = scratch();
  const socket = join(bin, "socket");
  const server = createServer((request, response) => {
    void (async () => {
      const [program = "", ...args] = JSON.parse(await text(request)) as string[];
      response.end(JSON.stringify(await programs[program]?.(args)));
    })();
  }).listen(socket);
  afterwards(() => void server.close());
  for (const program of Object.keys(programs)) {
    executable(
      join(bin, program),
      "#!/usr/bin/env node",
      `const request = require("node:http").request({ socketPath: ${JSON.stringify(socket)}, method: "POST" }, (response) => {`,
      `  let body = "";`,
      `  response.on("data", (chunk) => (body += chunk)).on("end", () => {`,
      `    const { code, stdout, stderr } = JSON.parse(body);`,
      `    process.stdout.write(stdout);`,
      `    process.stderr.write(stderr);`,
      `    process.exitCode = code;`,
      `  });`,
      `});`,
      `request.end(JSON.stringify([${JSON.stringify(program)}, ...process.argv.slice(2)]));`,
    );
  }
  vi.stubEnv("PATH", `${bin}:${process.env["PATH"] ?? ""}`);
  return bin;
}

/** Writes a script that can be run. */
export function executable(path: string, ...lines: string[]): void {
  writeFileSync(path, `${lines.join("\n")}\n`);
  chmodSync(path, 0o755);
}

/** Checks that a stack that was removed has left no machine, no medium, no file, no key. */
export async function expectNothingLeft(vboxManage: FakeVBoxManage): Promise<void> {
  const left = ["virtualbox", "images", "ssh"].map((folder) => join(".switchyard", folder));
  for (const folder of left.filter(existsSync)) expect(readdirSync(folder), folder).toEqual([]);
  for (const list of ["vms", "hdds", "dvds"])
    expect((await vboxManage.run(["list", list])).stdout, list).not.toMatch(/^(?:".*" \{|Location:)/m);
}
