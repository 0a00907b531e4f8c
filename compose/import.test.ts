import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, it } from "vitest";

import { run } from "../lib/run";

/** A project with a Pulumi CLI that notes what it is to encrypt, and fails at the second value if there is a file `fail`. */
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "switchyard-import-"));
  for (const folder of ["components", "compose", "lib", "node_modules", "providers", "routing"])
    symlinkSync(path.resolve(folder), path.join(dir, folder));
  cpSync("script", path.join(dir, "script"), { recursive: true });
  mkdirSync(path.join(dir, "bin"));
  const write = (file: string, text: string) => {
    writeFileSync(path.join(dir, file), text, { mode: 0o755 });
  };
  write("script/bootstrap", "#!/bin/sh\n");
  write("key", "a key\n");
  write("Pulumi.yaml", "name: switchyard\n");
  write(
    "compose.yml",
    "services: { a: { image: 'a:1', command: 'run -p $A_TOKEN', environment: { B_TOKEN: hush } } }\nsecrets: { key: { file: key } }\n",
  );
  write(
    "bin/pulumi",
    `#!/bin/sh
case "$*" in "config "*" set "*) ;; *) exit 0 ;; esac
echo "$* $(base64 -w 0)" >>calls
if [ -e fail ] && [ "$(wc -l <calls)" = 2 ]; then echo 'no space left' >&2; exit 1; fi
`,
  );
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

const runImport = () =>
  run(path.join(dir, "script/import"), ["compose.yml"], {
    timeoutMs: 60_000,
    env: {
      ...process.env,
      ENGINE: "pulumi",
      STACK: "dev",
      A_TOKEN: "hush",
      PULUMI_CONFIG_PASSPHRASE: "x",
      PATH: `${dir}/bin:${process.env["PATH"] ?? ""}`,
    },
  });
const textOf = (file: string) => readFileSync(path.join(dir, file), "utf8");

/** What the CLI is given, which takes one newline off its end. */
const given = (value: string) => Buffer.from(`${value}\n`).toString("base64");

it("encrypts values over what stands in for them", async () => {
  expect(await runImport()).toMatchObject({ code: 0 });
  expect(textOf("calls")).toBe(
    [
      `config --stack dev set --secret --path switchyard:services[0].command[2] ${given("hush")}`,
      `config --stack dev set --secret --path switchyard:services[0].env.B_TOKEN ${given("hush")}`,
      `config --stack dev set --secret --path switchyard:secrets.key ${given("a key\n")}`,
      "",
    ].join("\n"),
  );
  expect(textOf("Pulumi.dev.yaml")).not.toContain("hush");
  expect(existsSync(path.join(dir, "Pulumi.dev.yaml.before"))).toBe(false);
});

it("neither shares nor overwrites what the stack file has already", async () => {
  const before = `config:
  switchyard:services:
    - { name: db, image: "postgres:16", volumes: ["db_data:/var/lib/postgresql/data"], networks: [shop] }
  switchyard:secrets: { pw: { secure: v1:x } }
`;
  writeFileSync(path.join(dir, "Pulumi.dev.yaml"), before);
  writeFileSync(
    path.join(dir, "compose.yml"),
    `
name: shop
services:
  postgres: { image: "postgres:16", volumes: ["db_data:/var/lib/postgresql/data"], secrets: [pw] }
  web: { image: "a:1" }
volumes: { db_data: }
secrets: { pw: { file: compose.yml } }
`,
  );
  const { code, stderr } = await runImport();
  expect(code).toBe(1);
  for (const taken of ["volume db_data", "network shop", "secret pw"])
    expect(stderr).toContain(`Pulumi.dev.yaml already has a ${taken}`);
  expect(textOf("Pulumi.dev.yaml")).toBe(before);
  expect(existsSync(path.join(dir, "calls"))).toBe(false);
});

it.each([["config: {}\n"], [undefined]])(
  "imports nothing if a value cannot be encrypted: %j",
  async (before) => {
    const stackFile = path.join(dir, "Pulumi.dev.yaml");
    if (before !== undefined) writeFileSync(stackFile, before);
    writeFileSync(path.join(dir, "fail"), "");
    const { code, stdout, stderr } = await runImport();
    expect(code).toBe(1);
    expect(stderr).toContain(
      "services[0].env.B_TOKEN could not be encrypted, for the reason above, so nothing was imported",
    );
    expect(stdout + stderr).not.toContain("hush");
    expect(existsSync(stackFile) ? textOf("Pulumi.dev.yaml") : undefined).toBe(before);
    expect(existsSync(`${stackFile}.before`)).toBe(false);
    rmSync(path.join(dir, "fail"));
    expect(await runImport()).toMatchObject({ code: 0 });
  },
);
