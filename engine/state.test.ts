import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { newCrypter } from "./secrets";
import { emptyState, loadState, lockStack, saveState, stateFile, type StackState } from "./state";
import { secret } from "./wire";

let file: string;
beforeEach(() => {
  file = stateFile(mkdtempSync(path.join(tmpdir(), "state-")), "dev");
});

const filled = (): StackState => ({ ...emptyState("dev"), outputs: { open: 1, token: secret("hush") } });

describe("the state file", () => {
  it("is empty before the first run, then holds what was saved, readable only by its owner", () => {
    expect(loadState(file, "dev")).toEqual(emptyState("dev"));
    saveState(file, filled());
    expect(loadState(file, "dev")).toEqual(filled());
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("is replaced atomically, without leftover files", () => {
    saveState(file, filled());
    const unsaveable = { ...filled(), outputs: { n: 1n } } as unknown as StackState;
    expect(() => {
      saveState(file, unsaveable);
    }).toThrow();
    expect(loadState(file, "dev")).toEqual(filled());
    expect(readdirSync(path.dirname(file))).toEqual(["dev.json"]);
  });

  it("encrypts secrets when the stack has a passphrase", async () => {
    const crypter = await newCrypter("sesame");
    saveState(file, filled(), crypter);
    expect(readFileSync(file, "utf8")).not.toContain("hush");
    expect(loadState(file, "dev", crypter)).toEqual(filled());
    expect(() => loadState(file, "dev")).toThrow("encryptionsalt");
  });

  it("explains why it cannot be read", () => {
    saveState(file, filled());
    writeFileSync(file, "{");
    expect(() => loadState(file, "dev")).toThrow("is not JSON");
    writeFileSync(file, '{"version":7}');
    expect(() => loadState(file, "dev")).toThrow("another version");
  });
});

describe("the lock", () => {
  const lines: string[] = [];
  const say = (line: string): number => lines.push(line);

  it("excludes a second run until it is released", () => {
    const unlock = lockStack(file, say);
    expect(() => lockStack(file, say)).toThrow(`Another run (process ${String(process.pid)})`);
    unlock();
    lockStack(file, say)();
    expect(readdirSync(path.dirname(file))).toEqual([]);
  });

  it("is taken over from a dead process, with a message", () => {
    lockStack(file, say)();
    writeFileSync(`${file}.lock`, "999999999");
    lockStack(file, say)();
    expect(lines.at(-1)).toContain("process 999999999");
    expect(readdirSync(path.dirname(file))).toEqual([]);
  });
});
