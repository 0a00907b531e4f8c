import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { run } from "../../lib/run";

let dir: string;
const before = { ...process.env };

/** A call of a fake program. `input` is the standard input of `config` commands. */
interface Call {
  readonly args: string;
  readonly input: string;
}

function calls(): Call[] {
  const file = path.join(dir, "calls");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [args = "", input = ""] = line.split("\t");
      return { args, input };
    });
}

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "switchyard-scripts-"));
  mkdirSync(path.join(dir, "bin"));
  mkdirSync(path.join(dir, ".switchyard"));
  cpSync("script", path.join(dir, "script"), { recursive: true });
  const write = (file: string, text: string) => {
    writeFileSync(path.join(dir, file), text, { mode: 0o755 });
  };
  write("script/bootstrap", "#!/bin/sh\nprintf 'baseImage made:here\\n' >.switchyard/bases\n");
  write("Pulumi.yaml", "config:\n  switchyard:baseImage:\n    default: debian:13.1-slim\n");
  write("Pulumi.dev.yaml", "config: {}\n");
  const record = `#!/bin/sh
input=; case "$*" in *"config "*) input=$(cat) ;; esac
printf '%s %s\\t%s\\n' "\${0##*/}" "$*" "$input" >>"${dir}/calls"
`;
  write("bin/pulumi", record);
  write("bin/node", record);
  process.env["PATH"] = `${path.join(dir, "bin")}:${before["PATH"] ?? ""}`;
  for (const name of ["STACK", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
    Reflect.deleteProperty(process.env, name);
});
afterEach(() => {
  process.env = { ...before };
  rmSync(dir, { recursive: true });
});

describe.each(["pulumi", "embedded"])("script/down with the %s engine", (engine) => {
  test("passes the generated password on standard input, never on a command line", async () => {
    process.env["ENGINE"] = engine;
    expect(await run(path.join(dir, "script/down"), [], { timeoutMs: 30_000 })).toMatchObject({
      code: 0,
      stderr: "",
    });
    for (const { args } of calls()) expect(args).not.toMatch(/[0-9a-f]{32}/);
    const set = calls().filter(({ args }) => args.includes("statsPassword"));
    expect(set).toHaveLength(1);
    expect(set[0]?.args).toContain("--secret");
    expect(set[0]?.input).toMatch(/^[0-9a-f]{32}$/);
    expect(calls().filter(({ args }) => args.includes("baseImage"))).toMatchObject([{ input: "made:here" }]);
  });
});

test("a first script/up that fails leaves no empty stack in the backend", async () => {
  process.env["ENGINE"] = "pulumi";
  const fake = path.join(dir, "bin/pulumi");
  const fails = `case "$*" in "up "*) exit 3 ;; "stack select dev") exit 1 ;; esac`;
  writeFileSync(fake, `${readFileSync(fake, "utf8")}${fails}\n`);
  const { code } = await run(path.join(dir, "script/up"), [], { timeoutMs: 30_000 });
  expect(code).toBe(3);
  expect(calls().at(-1)?.args).toBe("pulumi stack rm --stack dev --yes --preserve-config");
});
