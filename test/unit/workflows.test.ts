import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";
import { parse } from "yaml";

const folder = ".github/workflows";
const files = readdirSync(folder).map(
  (file) => [file, readFileSync(path.join(folder, file), "utf8")] as const,
);

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, { readonly concurrency?: Readonly<Record<string, unknown>> }>>;
}

test.each(files)("%s pins its actions to commits and defaults to read-only permissions", (_, text) => {
  const uses = [...text.matchAll(/uses: (\S+)(.*)/g)];
  expect(uses.length).toBeGreaterThan(0);
  for (const [, action, comment] of uses) {
    expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
    expect(comment).toMatch(/# v\d+\.\d+\.\d+/);
  }
  const { permissions, on } = parse(text) as Workflow;
  expect(permissions).toEqual({ contents: "read" });
  // That event would run a fork's code with our secrets.
  expect(on).not.toHaveProperty("pull_request_target");
});

test("a newer update does not cancel a running one", () => {
  const { jobs } = parse(readFileSync(path.join(folder, "up.yml"), "utf8")) as Workflow;
  expect(jobs["up"]?.concurrency).toMatchObject({ "cancel-in-progress": false });
});
