import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, type Writable } from "node:stream";
import { expect, test, vi } from "vitest";
import { feed } from "./feed";
import { Restic } from "./restic";

/** Feeds 1 MB to a program. */
function fed(reads: (input: PassThrough) => Promise<number>): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), "switchyard-feed-"));
  writeFileSync(path.join(folder, "restic"), "#!/bin/sh\nexec head -c 1000000 /dev/zero\n");
  chmodSync(path.join(folder, "restic"), 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"] ?? ""}`);
  const restic = new Restic({ repository: "/repository", host: "shop/dev" });
  vi.unstubAllEnvs();
  const exec = async (_: string, __: unknown, { input }: { input?: (stream: Writable) => void }) => {
    const stream = new PassThrough();
    input?.(stream);
    const code = await reads(stream);
    // So does the connection when the program has ended.
    stream.destroy();
    return { code, errors: "" };
  };
  return feed({ exec }, restic, { id: "c0ffee00", path: "/db.dump" }, { container: "c1", program: ["psql"] });
}

test("a program that reads all is fed", async () => {
  let length = 0;
  await fed(async (input) => {
    for await (const chunk of input) length += (chunk as Buffer).length;
    return 0;
  });
  expect(length).toBe(1_000_000);
});

test("a program that ends well before it has read all has failed", async () => {
  await expect(fed(() => Promise.resolve(0))).rejects.toThrow("psql did not read all of the dump");
});

test("a program that fails is named", async () => {
  await expect(fed(() => Promise.resolve(3))).rejects.toThrow("psql: exit code 3");
});
