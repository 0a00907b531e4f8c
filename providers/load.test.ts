import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { reference } from "./dynamic-resource";

const root = join(__dirname, "..");

it.each([
  ["providers/consul-member.ts", "consulMemberProvider"],
  ["providers/engine.ts", "engineProvider"],
  ["providers/free-ports.ts", "freePortsProvider"],
  ["providers/image-copy.ts", "imageCopyProvider"],
  ["providers/rolling-container/provider.ts", "rollingContainerProvider"],
  ["providers/swarm-service/provider.ts", "serviceProvider"],
  ["providers/swarm/member.ts", "memberProvider"],
  ["providers/swarm/swarm.ts", "swarmProvider"],
  ["components/random-key.ts", "randomKeyProvider"],
  ["components/nodes/ssh-key.ts", "sshKeyProvider"],
  ["components/nodes/virtualbox/image.ts", "imageProvider"],
  ["components/nodes/virtualbox/vm.ts", "vmProvider"],
])(
  "%s loads in Pulumi's process for dynamic providers, from any program's folder",
  (file, provider) => {
    const code = reference({ file: join(root, file), provider });
    // The state contains it twice for every resource.
    expect(code.length).toBeLessThan(250);
    expect(code).not.toContain(root);
    const script = `process.chdir("examples/one-node");
    console.log(typeof require("require-from-string")(${JSON.stringify(code)}).handler().create)`;
    expect(execFileSync(process.execPath, ["-e", script], { cwd: root, encoding: "utf8" })).toBe(
      "function\n",
    );
  },
  60_000,
);

it("ends Pulumi's process for dynamic providers when its engine was killed", async () => {
  const dir = mkdtempSync(join(tmpdir(), "switchyard-load-"));
  const script = join(dir, "dynamic-provider.cjs");
  writeFileSync(
    script,
    `require(${JSON.stringify(join(root, "providers/load.cjs"))});
    setInterval(() => undefined, 1000);`,
  );
  const engine = createServer().listen(0, "127.0.0.1");
  await once(engine, "listening");
  const { port } = engine.address() as AddressInfo;
  const provider = spawn(process.execPath, [script, `127.0.0.1:${port}`]);
  const ended = once(provider, "exit");
  try {
    await once(engine, "connection"); // it watches
    expect(provider.exitCode).toBeNull();
    engine.close();
    expect(await ended).toEqual([1, null]);
  } finally {
    provider.kill("SIGKILL");
    rmSync(dir, { recursive: true });
  }
}, 60_000);
