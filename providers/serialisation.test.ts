import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const PROVIDERS = {
  "./consul-member": "consulMemberProvider",
  "./engine": "engineProvider",
  "./free-ports": "freePortsProvider",
  "./image-copy": "imageCopyProvider",
  "./rolling-container/provider": "rollingContainerProvider",
  "./swarm-service/provider": "serviceProvider",
  "./swarm/member": "memberProvider",
  "./swarm/swarm": "swarmProvider",
};

it("providers serialise into code that runs without this repository", () => {
  // Pulumi does this on every run, in a program that it loads with ts-node as CommonJS.
  const script = `
    const { runtime } = require("@pulumi/pulumi");
    const providers = Object.entries(${JSON.stringify(PROVIDERS)}).map(([file, name]) => require(file)[name]);
    Promise.all(providers.map(async (provider) => (await runtime.serializeFunction(() => provider)).text)).then(
      (texts) => console.log(JSON.stringify(texts)));`;
  const env = { ...process.env, NODE_NO_WARNINGS: "1" };
  const options = { cwd: __dirname, encoding: "utf8", env } as const;
  const out = execFileSync(
    process.execPath,
    ["-r", "ts-node/register/transpile-only", "-e", script],
    options,
  );
  const texts = JSON.parse(out) as string[];
  expect(texts).toHaveLength(Object.keys(PROVIDERS).length);
  for (const [index, name] of Object.values(PROVIDERS).entries()) {
    const text = texts[index] ?? "";
    if (name !== "freePortsProvider") expect(text, name).toContain('require("dockerode');
    expect(text).not.toContain(join(__dirname, ".."));
    // The serialiser overlooks a constant that is only the key of a pattern, as in `const { [KEY]: value } = …`.
    for (const code of text.split(/^function __/m))
      for (const [, constant = ""] of code.matchAll(/\[([A-Z][A-Z_]{2,})\]/g))
        expect(code, `${name} uses ${constant}`).toMatch(new RegExp(`with\\(\\{.*\\b${constant}: `, "s"));
    // The state contains it for every resource.
    expect(text.length).toBeLessThan(64_000);
  }
}, 60_000);
