import { execFileSync } from "node:child_process";

import { afterAll, expect, test, vi } from "vitest";

import { readyFile } from "../../components/nodes/cloud-init";
import { engineProvider } from "../../providers/engine";
import { baseImage, consulImage } from "../e2e/bases";
import { get } from "../e2e/http";
import { configuredSsh, startMachine } from "../e2e/machine";
import { stack } from "../e2e/stack";
import { tearDown } from "../e2e/tear-down";

// A machine that nothing but its user-data has set up is a host of a stack.

afterAll(tearDown);

test("a stack runs on it like on any host", async () => {
  const machine = await startMachine("e2e-machine");
  await engineProvider.create({
    host: machine.host,
    sshOpts: machine.sshOpts,
    readyFile,
    timeoutSeconds: 170,
  });
  vi.stubEnv("PATH", `${configuredSsh(machine)}:${process.env["PATH"] ?? ""}`);
  for (const image of [baseImage, consulImage]) {
    execFileSync("sh", ["-c", `docker save ${image} | docker -H ${machine.host} load`]);
  }
  const { address, host } = machine;
  const service = { name: "hello/v1", build: "hello", port: 8080, replicas: 2, env: { NAME: "hello/v1" } };
  stack.configure([service], {
    target: "hosts",
    hosts: [{ name: "machine", address, docker: host }],
  });
  try {
    const { code, output } = await stack.up();
    expect({ code, output }).toMatchObject({ code: 0 });
    const answer = await get(`http://${address}/hello/v1`);
    expect(answer).toMatchObject({ status: 200 });
    expect(JSON.parse(answer.body)).toMatchObject({ service: "hello/v1" });
    const again = await stack.up("--expect-no-changes");
    expect({ code: again.code, output: again.output }).toMatchObject({ code: 0 });
  } finally {
    expect(await stack.down()).toMatchObject({ code: 0 });
    stack.forget();
    vi.unstubAllEnvs();
  }
  expect(await machine.exec("docker", "ps", "-aq")).toBe("");
}, 420_000);
