import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
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
  for (const program of ["pulumi", "node", "docker"]) write(`bin/${program}`, record);
  process.env["PATH"] = `${path.join(dir, "bin")}:${before["PATH"] ?? ""}`;
  for (const name of [
    "STACK",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
  ])
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

test.each(["up", "down"])("script/%s installs no plugin that the stack does not use", async (script) => {
  process.env["ENGINE"] = "pulumi";
  const fake = path.join(dir, "bin/pulumi");
  const refuses = `[ "$PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL" = true ] || exit 5`;
  writeFileSync(fake, `${readFileSync(fake, "utf8")}${refuses}\n`);
  expect(await run(path.join(dir, "script", script), [], { timeoutMs: 30_000 })).toMatchObject({ code: 0 });
});

describe("script/down after a run that was interrupted", () => {
  const extend = (program: string, text: string): void => {
    const file = path.join(dir, "bin", program);
    writeFileSync(file, `${readFileSync(file, "utf8")}${text}\n`);
  };
  beforeEach(() => {
    process.env["ENGINE"] = "pulumi";
    extend(
      "docker",
      `case "$*" in "ps "*) printf 'recorded\\nleft\\n' ;; "service ls "*) echo service ;; esac`,
    );
    extend("docker", `case "$*" in "rm "*service) exit 1 ;; esac`);
  });
  const down = async (state: object) => {
    extend("pulumi", `case "$*" in "stack export "*) echo '${JSON.stringify(state)}' ;; esac`);
    const outcome = await run(path.join(dir, "script/down"), [], { timeoutMs: 30_000 });
    const done = calls().map(({ args }) => args.replace(/ --stack.*/, ""));
    return { ...outcome, done: done.filter((call) => /destroy|rm/.test(call)) };
  };

  test("removes containers and services that are not recorded", async () => {
    // The container is in the way: it uses a volume.
    extend("pulumi", `case "$*" in "destroy "*) grep -q 'docker rm' '${dir}/calls' || exit 4 ;; esac`);
    const { code, stderr, done } = await down({ resources: [{ type: "DockerEngine" }, { id: "recorded" }] });
    expect(stderr).toContain("removing what an interrupted run left");
    expect(code).toBe(0);
    expect(done).toEqual([
      "pulumi destroy",
      "docker rm -fv left",
      "docker rm -fv service",
      "docker service rm service",
      "pulumi destroy",
    ]);
  });

  test("leaves those alone that a stack of the same name has, which is not in this state", async () => {
    expect((await down({ resources: [] })).done).toEqual(["pulumi destroy"]);
  });
});

describe("of a stack on VirtualBox machines", () => {
  const extend = (program: string, text: string): void => {
    const file = path.join(dir, "bin", program);
    writeFileSync(file, `${readFileSync(file, "utf8")}${text}\n`);
  };
  const script = async (name: string) => {
    const outcome = await run(path.join(dir, "script", name), [], { timeoutMs: 30_000 });
    const order = calls().flatMap(
      ({ args }) => /start\.ts|^pulumi (?:destroy|up|refresh)/.exec(args)?.[0] ?? [],
    );
    return { ...outcome, order };
  };
  beforeEach(() => {
    process.env["ENGINE"] = "pulumi";
    writeFileSync(path.join(dir, "bin/VBoxManage"), "#!/bin/sh\n", { mode: 0o755 });
    extend(
      "pulumi",
      `case "$*" in "stack export "*) echo '{"type":"dynamic/switchyard:VirtualBoxVm"}' ;; esac`,
    );
  });

  test.each([
    ["up", "pulumi up"],
    ["down", "pulumi destroy"],
  ])("script/%s starts those that are off before anything needs them", async (name, command) => {
    // After a killed run, it refreshes the state, too.
    writeFileSync(path.join(dir, "Pulumi.yaml"), "name: house\nconfig: {}\n");
    const stacks = path.join(dir, ".switchyard/pulumi/.pulumi/stacks/house");
    mkdirSync(stacks, { recursive: true });
    writeFileSync(path.join(stacks, "dev.json"), '"pending_operations"');
    expect(await script(name)).toMatchObject({ code: 0, order: ["start.ts", "pulumi refresh", command] });
  });

  test("script/up ends if one does not start", async () => {
    extend("node", `case "$*" in *start.ts*) exit 1 ;; esac`);
    expect(await script("up")).toMatchObject({ code: 1, order: ["start.ts"] });
  });

  test("script/up goes on with the embedded engine if one does not start, and may replace or remove it", async () => {
    process.env["ENGINE"] = "embedded";
    mkdirSync(path.join(dir, ".switchyard/state"), { recursive: true });
    writeFileSync(path.join(dir, ".switchyard/state/dev.json"), '"dynamic/switchyard:VirtualBoxVm"');
    extend("node", `case "$*" in *start.ts*) exit 1 ;; esac`);
    const { order } = await script("up");
    expect(order).toEqual(["start.ts"]);
    expect(calls().map(({ args }) => args)).toContainEqual(expect.stringContaining("engine/main.ts up"));
  });

  test("script/down goes on if one does not start, and says what to do if it is needed", async () => {
    extend("node", `case "$*" in *start.ts*) exit 1 ;; esac`);
    expect(await script("down")).toMatchObject({ code: 0, order: ["start.ts", "pulumi destroy"] });
    extend("pulumi", `case "$*" in "destroy "*) exit 255 ;; esac`);
    const { code, stderr } = await script("down");
    expect(code).toBe(1);
    expect(stderr).toContain("VBoxManage startvm NAME --type headless");
    expect(stderr).toContain("docs/targets.md");
  });
});

describe("after a killed run of the Pulumi CLI", () => {
  const backend = (): string => path.join(dir, ".switchyard/pulumi/.pulumi");
  const locks = (): string => path.join(backend(), "locks/organization/house/dev");
  const down = () => run(path.join(dir, "script/down"), [], { timeoutMs: 30_000 });
  /** As the CLI writes it. */
  const lock = (name: string, pid: number, host: string): void => {
    const text = JSON.stringify({ pid, username: "ann", hostname: host, timestamp: "2026-11-28T13:04:06Z" });
    writeFileSync(path.join(locks(), name), text);
  };

  beforeEach(() => {
    process.env["ENGINE"] = "pulumi";
    mkdirSync(locks(), { recursive: true });
    writeFileSync(path.join(dir, "Pulumi.yaml"), "name: house\nconfig: {}\n");
  });

  // The second process exists, but is no Pulumi CLI: its ID was used again.
  test.each([4_194_303, process.pid])("its lock is removed (process %i)", async (pid) => {
    lock("killed.json", pid, hostname());
    const { code, stderr } = await down();
    expect(stderr).toContain(`removed the lock of an earlier run (process ${pid}) that no longer exists`);
    expect(code).toBe(0);
    expect(readdirSync(locks())).toEqual([]);
  });

  test("the lock of a run that may go on stays, and one sentence says what to do", async () => {
    const cli = path.join(dir, "pulumi");
    copyFileSync("/bin/sleep", cli);
    const running = spawn(cli, ["60"]);
    try {
      await once(running, "spawn");
      for (const [pid, host] of [
        [running.pid ?? 0, hostname()],
        [4_194_303, "elsewhere"],
      ] as const) {
        lock("held.json", pid, host);
        const { code, stderr } = await down();
        expect(code).toBe(1);
        expect(stderr).toContain(`Process ${pid} on ${host} is working on stack dev.`);
        expect(stderr).toContain("script/cancel");
        expect(readdirSync(locks())).toEqual(["held.json"]);
        expect(calls().filter(({ args }) => args.includes("destroy"))).toEqual([]);
      }
    } finally {
      running.kill();
    }
  });

  test("a backend that is no folder keeps its own locks, which script/cancel removes", async () => {
    process.env["PULUMI_BACKEND_URL"] = "s3://bucket";
    lock("killed.json", 4_194_303, hostname());
    expect(await down()).toMatchObject({ code: 0 });
    expect(readdirSync(locks())).toEqual(["killed.json"]);
    expect(await run(path.join(dir, "script/cancel"), [], { timeoutMs: 30_000 })).toMatchObject({ code: 0 });
    expect(calls().at(-1)?.args).toBe("pulumi cancel --stack dev --yes");
  });

  test("what it was creating is forgotten, because the program finds it", async () => {
    const stacks = path.join(backend(), "stacks/house");
    mkdirSync(stacks, { recursive: true });
    const write = (types: readonly string[]): void => {
      const pending = types.map((type) => ({ resource: { type }, type: "creating" }));
      const checkpoint = { latest: { pending_operations: pending } };
      writeFileSync(path.join(stacks, "dev.json"), JSON.stringify({ version: 3, checkpoint }));
    };
    const refreshes = () => calls().filter(({ args }) => args.includes("--clear-pending-creates"));
    rmSync(path.join(dir, "bin/node")); // the real one reads the state
    for (const kept of ["aws:ec2/instance:Instance", "pulumi-nodejs:dynamic/switchyard:VirtualBoxVm"]) {
      write(["docker:index/container:Container", kept]);
      await down();
      expect(refreshes()).toEqual([]);
    }
    write(["docker:index/container:Container", "pulumi-nodejs:dynamic/switchyard:SwarmService"]);
    await down();
    expect(refreshes()).toHaveLength(1);
  });
});
