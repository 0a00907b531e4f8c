import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { baseImage } from "../e2e/bases";
import { claimEngineUntilRemoved, docker, lines, removeContainers, tasks } from "../e2e/docker";
import { run, stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { backupOf, buildPostgres, configure, db, expectTidy, folderFor, inside, notes, sql } from "./backups";

// Restores and backups that fail or are killed: the data is the old or the new, whole, and its services run.

let path: string;

/** Its dump fails after half of it. */
const halves = {
  ...notes,
  name: "halves",
  volumes: ["halves:/data"],
  healthCheck: { command: ["true"], intervalSeconds: 1 },
};
const services = (load?: readonly string[]) => [
  { ...db, backup: backupOf(path, load && { load }) },
  notes,
  {
    ...halves,
    backup: backupOf(path, { dump: ["sh", "-c", "echo half; echo no more >&2; exit 3"], load: ["cat"] }),
  },
];

/** Many files with the same content, so that a mixture would be seen. */
const write = (word: string): Promise<string> =>
  inside(
    "notes",
    "sh",
    "-c",
    `cd /data; rm -rf ./*; mkdir all; for i in $(seq 400); do echo ${word} >all/$i; done`,
  );
/** `400 kept`: what is in the volume, whoever uses it. */
const content = (): Promise<string> =>
  docker(...["run", "--rm", "-v", "e2e_notes:/data", baseImage, "sh", "-c"], "cat /data/all/* | sort | uniq -c | xargs echo"); // prettier-ignore
const words = async (): Promise<string[]> => lines(await sql("select word from t"));

/** Runs `script/restore`, and kills all of it as soon as something is so. Returns its output. */
async function killedWhen(
  is: (output: string) => boolean | Promise<boolean>,
  ...args: string[]
): Promise<string> {
  const env = { ...process.env, STACK: "e2e" };
  const child = spawn("script/restore", [...args, "--yes"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  const ended = new Promise<"ended">((resolve) =>
    child.once("close", () => {
      resolve("ended");
    }),
  );
  const isSo = async (): Promise<void> => {
    while (!(await is(output))) await sleep(5);
  };
  const first = await Promise.race([ended, isSo()]);
  if (first === "ended") throw new Error(`it ended too early: ${output}`);
  process.kill(-(child.pid ?? 0), "SIGKILL");
  await ended;
  return output;
}

const hasVolume = async (name: string): Promise<boolean> =>
  (await run("docker", ["volume", "inspect", name])).code === 0;
const isUsed = async (volume: string): Promise<boolean> =>
  (await docker("ps", "-q", "--filter", `volume=${volume}`)) !== "";

beforeAll(async () => {
  await buildPostgres();
  await claimEngineUntilRemoved(() => stack.remove());
  afterwards(() => stack.down("--volumes"));
  path = await folderFor("e2e-backups");
  await configure(...services());
  succeeded(await stack.up());
  await write("kept");
  succeeded(await stack.backup("notes", path));
  await sql("create table t (id serial primary key, word text); insert into t (word) values ('kept')");
  succeeded(await stack.backup("db"));
}, 900_000);

afterAll(tearDown);

describe("a restore of files", () => {
  test("with the wrong password changes nothing, and says so", async () => {
    await write("lost");
    const before = await tasks("notes");
    succeeded(await stack.setSecret("secrets.backup_password", "another"));
    const { code, output } = await stack.restore("notes", path, "--yes");
    expect([code, output]).toEqual([
      1,
      expect.stringContaining(`The password does not fit the backups at ${path}: set backup_password`),
    ]);
    succeeded(await stack.setSecret("secrets.backup_password", "a-password"));
    expect([await content(), await tasks("notes")]).toEqual(["400 lost", before]);
    await expectTidy("e2e_notes", "notes");
  });

  test.each<[string, (output: string) => boolean | Promise<boolean>, string]>([
    ["it writes the new volume", () => isUsed("e2e_notes.restore"), "400 lost"],
    ["it stops the service", (output) => output.includes("stopping notes"), "400 lost"],
    ["it begins the exchange", () => hasVolume("e2e_notes.exchanging"), "400 (lost|kept)"],
    [
      "it has exchanged",
      async () => (await hasVolume("e2e_notes.exchanging")) && (await isUsed("e2e_notes")),
      "400 kept",
    ],
    ["it removes the old data", (output) => output.includes("restored notes"), "400 kept"],
  ])("that is killed while %s is run again", async (_, is, expected) => {
    await write("lost");
    await killedWhen(is, "notes", path);
    expect(await content()).toMatch(new RegExp(`^${expected}$`));
    succeeded(await stack.restore("notes", path, "--yes"));
    expect(await content()).toBe("400 kept");
    await expectTidy("e2e_notes", "notes");
  });

  test("that is killed at any moment of the exchange leaves the old data or the new", async () => {
    for (let afterMs = 0; afterMs < 1_500; afterMs += 400) {
      await write("lost");
      let sinceMs: number | undefined;
      await killedWhen(
        async () => {
          sinceMs ??= (await hasVolume("e2e_notes.exchanging")) ? Date.now() : undefined;
          return sinceMs !== undefined && Date.now() - sinceMs >= afterMs;
        },
        "notes",
        path,
      );
      expect(await content()).toMatch(/^400 (lost|kept)$/);
      succeeded(await stack.restore("notes", path, "--yes"));
      expect(await content()).toBe("400 kept");
    }
    await expectTidy("e2e_notes", "notes");
  });

  test("that fails after one was killed in the exchange leaves no service stopped", async () => {
    await write("lost");
    await killedWhen((output) => output.includes("stopping notes"), "notes", path);
    const { code, output } = await stack.restore("notes", path, "--snapshot", "c0ffee00", "--yes");
    expect([code, output]).toEqual([1, expect.stringContaining("c0ffee00")]);
    await expect.poll(() => tasks("notes"), { timeout: 60_000 }).toHaveLength(1);
    expect(await content()).toBe("400 lost");
    await expectTidy("e2e_notes", "notes");
  });

  test("goes on while somebody lists the backups or restores, too", async () => {
    const first = stack.restore("notes", path, "--yes");
    const isOpen = () => docker("ps", "-q", "--filter", "name=switchyard-restore");
    await expect.poll(isOpen, { timeout: 60_000, interval: 20 }).not.toBe("");
    const [second, listed] = [stack.restore("notes", path, "--yes"), stack.restore("notes", path, "--list")];
    expect((await listed).output).toMatch(/^[0-9a-f]{8} .* notes$/m);
    succeeded(await first);
    // It waits for a while.
    const { code, output } = await second;
    expect(code === 0 || output.includes("Another restore is under way on node local"), output).toBe(true);
    expect(await content()).toBe("400 kept");
    await expectTidy("e2e_notes", "notes");
  });
});

describe("a restore of a database", () => {
  test("whose load fails changes nothing, and says why", async () => {
    await sql("truncate t; insert into t (word) values ('lost')");
    const before = await tasks("db");
    await configure(...services(["sh", "-c", "cat >/dev/null; echo no such role >&2; exit 3"]));
    const { code, output } = await stack.restore("db", "--yes");
    expect([code, output]).toEqual([1, expect.stringContaining("sh: exit code 3: no such role")]);
    expect([await words(), await tasks("db")]).toEqual([["lost"], before]);
    await expectTidy("e2e_data", "db");
  });

  test("that is killed while it loads is run again", async () => {
    await configure(...services(["sleep", "600"]));
    const isLoading = async (): Promise<boolean> => {
      const [task] = await tasks("db-restore");
      return task !== undefined && (await run("docker", ["exec", task, "pgrep", "sleep"])).code === 0;
    };
    await killedWhen(isLoading, "db");
    expect(await words()).toEqual(["lost"]);
    await configure(...services());
    succeeded(await stack.restore("db", "--yes"));
    expect(await words()).toEqual(["kept"]);
    await expectTidy("e2e_data", "db");
  });
});

describe("a backup", () => {
  test("of a dump that fails stores nothing", async () => {
    const { code, output } = await stack.backup("halves");
    expect([code, output]).toEqual([1, expect.stringContaining("the dump failed: sh: exit code 3: no more")]);
    expect((await stack.restore("halves", "--list")).output).not.toContain("halves");
  });

  test("to a full disk says so, and the backups there can still be restored", async () => {
    const full = await folderFor(
      "e2e-full",
      ...["type=tmpfs", "device=tmpfs", "o=size=3m"].flatMap((each) => ["--opt", each]),
    );
    await docker("run", "-d", "--name", "e2e-full", "-v", "e2e-full:/full", baseImage, "sleep", "infinity");
    afterwards(() => removeContainers("e2e-full"));
    await write("kept");
    succeeded(await stack.backup("notes", full));
    await inside("notes", "sh", "-c", "head -c 9000000 /dev/urandom >/data/large");
    const { code, output } = await stack.backup("notes", full);
    expect([code, output]).toEqual([
      1,
      expect.stringContaining(`There is no room left at ${full}: make room there`),
    ]);
    expect(await tasks("notes")).toHaveLength(1);
    await run("docker", ["exec", "e2e-full", "sh", "-c", "head -c 9000000 /dev/zero >/full/rest"]);
    succeeded(await stack.restore("notes", full, "--yes"));
    expect(await inside("notes", "ls", "/data")).toBe("all");
    expect(await content()).toBe("400 kept");
  });
});
