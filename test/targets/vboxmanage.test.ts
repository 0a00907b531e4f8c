import { afterAll, expect, test } from "vitest";

import { scratch } from "../e2e/scratch";
import { run } from "../e2e/stack";
import { tearDown } from "../e2e/tear-down";
import { container, startContainer } from "./container";

afterAll(tearDown);

test("the unit tests of the VirtualBox target pass with real VBoxManage and qemu-img", async () => {
  const { path } = scratch();
  await startContainer([path]);
  const file = "components/nodes/virtualbox/index.test.ts";
  const env = { TMPDIR: path, VBOX_CONTAINER: container };
  const { code, output } = await run("npx", ["vitest", "run", "--project", "unit", file], env);
  expect({ code, output }).toMatchObject({
    code: 0,
    output: expect.not.stringContaining("skipped") as string,
  });
  console.log(output.split("\n").slice(-6).join("\n"));
});
