import { rmSync, writeFileSync } from "node:fs";

import { afterAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { baseImage, consulImage } from "./bases";
import { belongings } from "./docker";
import { until } from "./http";
import { run, type Outcome } from "./stack";

// A program that imports the components. It runs on the embedded engine regardless of ENGINE, because all its files are in
// its own folder.

const folder = "examples/one-node";
const file = `${folder}/Pulumi.e2e.yaml`;
const engine = (...args: string[]): Promise<Outcome> =>
  run(process.execPath, ["-r", "ts-node/register/transpile-only", "engine/main.ts", ...args, "--stack", "e2e", "--cwd", folder]); // prettier-ignore

afterAll(async () => {
  await engine("down");
  rmSync(file, { force: true });
});

test("a program that uses the components routes its service and removes everything on down", async () => {
  const before = await belongings();
  const images = { "one-node:baseImage": baseImage, "one-node:consulImage": consulImage };
  writeFileSync(file, stringify({ config: images }));
  const { code, output } = await engine("up");
  expect({ code, output }).toMatchObject({ code: 0 });
  const answer = await until("http://localhost:8000/shop/v1", ({ status }) => status === 200, {
    seconds: 10,
  });
  expect(JSON.parse(answer.body)).toMatchObject({ service: "shop" });
  expect(await engine("down")).toMatchObject({ code: 0 });
  expect(await belongings()).toEqual(before);
});
