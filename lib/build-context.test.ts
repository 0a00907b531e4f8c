import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { readBuildContext } from "./build-context";

describe(".dockerignore", () => {
  it.each([
    ["*.log", "a.log", true],
    ["*.log", "deep/a.log", false],
    ["**/*.log", "deep/er/a.log", true],
    ["**/*.log", "a.log", true],
    ["node_modules", "node_modules/x/y.js", true],
    ["node_modules", "deep/node_modules/x", false],
    ["/dist/", "dist/main.js", true],
    ["./dist", "dist/main.js", true],
    ["a?c", "abc", true],
    ["a?c", "a/c", false],
    ["# a.log\n\n", "a.log", false],
    ["*\n!keep", "keep", false],
    ["*\n!keep", "other", true],
    ["*\n!keep/in", "keep/in/file", false],
    ["*.md\n!README.md\nREADME*", "README.md", true],
    ["a.b", "aXb", false],
    ["README.md", "readme.md", false],
  ])("%j: %s ignored: %s", (rules, file, ignored) => {
    const dir = folder({ Dockerfile: "FROM x", ".dockerignore": rules, [file]: "" });
    const { entries } = readBuildContext(dir);
    expect(entries.some((entry) => entry.path === file)).toBe(!ignored);
  });
});

it("leaves out the project's own state, and no other folder of that name", () => {
  const dir = folder({ Dockerfile: "FROM x", ".switchyard/passphrase": "", "deep/.switchyard/x": "" });
  const before = process.cwd();
  try {
    process.chdir(path.join(dir));
    const names = readBuildContext(dir).entries.map((entry) => entry.path);
    expect(names).not.toContain(".switchyard/passphrase");
    expect(names).toContain("deep/.switchyard/x");
  } finally {
    process.chdir(before);
  }
});

function folder(files: Record<string, string>): string {
  const dir = mkdtempSync(path.join(tmpdir(), "context-"));
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    writeFileSync(path.join(dir, file), content);
  }
  return dir;
}

describe("the build context", () => {
  const files = {
    Dockerfile: "FROM x",
    ".dockerignore": "*\n!src\nsrc/*.log",
    "src/main.js": "1",
    "src/a.log": "2",
    other: "3",
  };

  it("contains what is not ignored, and always the Dockerfile", () => {
    const dir = folder(files);
    const { entries, dockerfile } = readBuildContext(dir, path.join(dir, "Dockerfile"));
    expect(entries.map((e) => e.path)).toEqual([".dockerignore", "Dockerfile", "src", "src/main.js"]);
    expect(dockerfile).toBe("Dockerfile");
  });

  it("has a hash of content and executable bit, and of nothing else", () => {
    const dir = folder(files);
    const digest = (): string => readBuildContext(dir, path.join(dir, "Dockerfile")).digest;
    const first = digest();
    writeFileSync(path.join(dir, "src/a.log"), "changed");
    writeFileSync(path.join(dir, "src/main.js"), "1");
    expect(digest()).toBe(first);
    chmodSync(path.join(dir, "src/main.js"), 0o755);
    const second = digest();
    expect(second).not.toBe(first);
    writeFileSync(path.join(dir, "src/main.js"), "2");
    expect(digest()).not.toBe(second);
  });

  it("includes a Dockerfile from elsewhere, and rejects a missing one", () => {
    const dir = folder({ "app/a": "1", Dockerfile: "FROM x" });
    const { entries, dockerfile } = readBuildContext(path.join(dir, "app"), path.join(dir, "Dockerfile"));
    expect(entries.map((e) => e.path)).toContain(dockerfile);
    expect(() => readBuildContext(dir, path.join(dir, "nowhere"))).toThrow("There is no Dockerfile at");
  });
});
