import { defineConfig } from "vitest/config";

/** Only root can create virtual nodes; script/test says so. */
const withNodes = ["test/e2e/cluster.test.ts", "test/targets/virtualbox{,-alone}.test.ts", "test/day/**"];
const exclude = process.getuid?.() === 0 ? [] : withNodes;

/** Slow suites that CI does not run with each change: `script/test day` and `script/test targets`. */
const slow = (name: string) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    exclude,
    globalSetup: "test/e2e/setup.ts",
    fileParallelism: false,
    expect: { poll: { timeout: 15_000 } },
    testTimeout: 2_400_000,
    hookTimeout: 300_000,
  },
});

export default defineConfig({
  test: {
    projects: [
      slow("day"),
      slow("targets"),
      {
        test: {
          name: "unit",
          globalSetup: "test/unit/setup.ts",
          testTimeout: 30_000,
          // The default is one fewer than there are cores. End-to-end tests, one at a time, come afterwards.
          maxWorkers: "100%",
          sequence: { groupOrder: 0 },
          include: [
            "{routing,lib,compose,components,providers,engine,preview,backup,jobs,templates,test/unit}/**/*.test.ts",
          ],
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude,
          globalSetup: "test/e2e/setup.ts",
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          // The machine may be busy.
          expect: { poll: { timeout: 15_000 } },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
