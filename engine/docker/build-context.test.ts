import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { buildContext, ignorer } from "./build-context";
import { tar } from "./tar";

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
  ])("%j: %s ignored: %s", (rules, file, ignored) => {
    expect(ignorer(rules)(file)).toBe(ignored);
  });
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

  it("holds what is not ignored, and always the Dockerfile", () => {
    const dir = folder(files);
    const { entries, dockerfile } = buildContext(dir, path.join(dir, "Dockerfile"));
    expect(entries.map((e) => e.path)).toEqual([".dockerignore", "Dockerfile", "src", "src/main.js"]);
    expect(dockerfile).toBe("Dockerfile");
  });

  it("has a hash that follows content and mode of what counts, and nothing else", () => {
    const dir = folder(files);
    const digest = (): string => buildContext(dir, path.join(dir, "Dockerfile")).digest;
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

  it("takes a Dockerfile from elsewhere along, and says when there is none", () => {
    const dir = folder({ "app/a": "1", Dockerfile: "FROM x" });
    const { entries, dockerfile } = buildContext(path.join(dir, "app"), path.join(dir, "Dockerfile"));
    expect(entries.map((e) => e.path)).toContain(dockerfile);
    expect(() => buildContext(dir, path.join(dir, "nowhere"))).toThrow("There is no Dockerfile at");
  });

  it("becomes an archive that tar reads, links and long names included", () => {
    const long = `${"long/".repeat(30)}name`;
    const dir = folder({ Dockerfile: "FROM x", [long]: "deep" });
    symlinkSync("Dockerfile", path.join(dir, "link"));
    const archive = tar(buildContext(dir, path.join(dir, "Dockerfile")).entries);
    const list = spawnSync("tar", ["-tvf", "-"], { input: archive, encoding: "utf8" });
    expect(list.status).toBe(0);
    expect(list.stdout).toContain(long);
    expect(list.stdout).toContain("link -> Dockerfile");
    const read = spawnSync("tar", ["-xOf", "-", long], { input: archive, encoding: "utf8" });
    expect(read.stdout).toBe("deep");
  });
});
