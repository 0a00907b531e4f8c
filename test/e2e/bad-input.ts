import { createServer } from "node:net";

import { expect, test } from "vitest";

import { belongings } from "./docker";
import { run, stack, type ServiceEntry } from "./stack";

/** Mistakes a user can make on a machine without a stack: each is named and leaves nothing behind. */
export function badInput(services: readonly ServiceEntry[]): void {
  const [first] = services;
  const service = (more: Readonly<Record<string, unknown>>) => [{ ...first, ...more } as ServiceEntry];

  test.each<[string, readonly ServiceEntry[], Record<string, unknown>, RegExp]>([
    ["an unknown key", services, { replicsa: 3 }, /replicsa/],
    ["an unknown key of a service", service({ replicsa: 3 }), {}, /services\[0\]\.replicsa is not known/],
    ["a wrong value", service({ replicas: "many" }), {}, /services\[0\]\.replicas is "many".*whole number/],
    ["a service without a port", service({ port: undefined }), {}, /services\[0\]\.port is missing/],
    [
      "two services on one route",
      [...service({}), ...service({ name: "other", meta: { path: "/hello/v1" } })],
      {},
      /\/hello\/v1/,
    ],
    ["an unknown routing option value", service({ meta: { balance: "fastest" } }), {}, /SERVICE_BALANCE/],
    ["an unknown target", services, { target: "moon" }, /target is "moon"/],
  ])("%s is rejected by name, and nothing is created", async (_, wrong, settings, message) => {
    const before = await belongings();
    stack.configure(wrong, settings);
    const { code, output } = await stack.up();
    expect(code).toBe(1);
    expect(output).toMatch(message);
    expect(output).not.toMatch(/^\s+at .*:\d+:\d+/m);
    expect(await belongings()).toEqual(before);
  });

  test("a taken port is named, and does not break the next up", async () => {
    const taken = createServer().listen(8081, "0.0.0.0");
    try {
      stack.configure(services, { httpPort: 8081 });
      const { code, output } = await stack.up();
      expect(code).toBe(1);
      expect(output).toContain("Port 8081 is taken");
      expect(output).toContain("pulumi config set httpPort");
      expect(output).not.toMatch(/^\s+at .*:\d+:\d+/m);
    } finally {
      taken.close();
    }
  });

  test("an unreachable engine is named", async () => {
    const { code, output } = await run("script/up", [], {
      STACK: "e2e",
      DOCKER_HOST: "unix:///nowhere/docker.sock",
    });
    expect(code).toBe(1);
    expect(output).toContain("unix:///nowhere/docker.sock");
  });
}
