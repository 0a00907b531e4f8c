import { writeFileSync } from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { baseImage, consulImage } from "./bases";
import { belongings, claimEngineUntilRemoved } from "./docker";
import { until } from "./http";
import { exampleStack, run, succeeded, type Outcome } from "./stack";
import { tearDown } from "./tear-down";

// A program that imports the components. It runs on the embedded engine regardless of ENGINE, because all its files are in
// its own folder.

const folder = "examples/one-node";
const engine = (...args: string[]): Promise<Outcome> =>
  run(process.execPath, ["-r", "./lib/register.cjs", "engine/main.ts", ...args, "--stack", "e2e", "--cwd", folder]); // prettier-ignore

beforeAll(async () => {
  await claimEngineUntilRemoved(async () => {
    succeeded(await engine("down"));
    exampleStack.forget();
  });
});
afterAll(tearDown);

test("a program that uses the components routes its service and removes everything on down", async () => {
  const before = await belongings();
  const images = { "one-node:baseImage": baseImage, "one-node:consulImage": consulImage };
  writeFileSync(exampleStack.file, stringify({ config: images }));
  const { code, output } = await engine("up");
  expect({ code, output }).toMatchObject({ code: 0 });
  const answer = await until("http://localhost:8000/shop/v1", ({ status }) => status === 200, {
    seconds: 10,
  });
  expect(JSON.parse(answer.body)).toMatchObject({ service: "shop" });
  expect(await engine("down")).toMatchObject({ code: 0 });
  expect(await belongings()).toEqual(before);
});
