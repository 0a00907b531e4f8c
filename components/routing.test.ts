import { expect, test } from "vitest";

import { parseService } from "./config/services";
import { describeServices, planStack, readOutputs } from "./routing";

test("the limits of a service are read from a stack's outputs as a preview shows them", () => {
  const limits = [
    { cpus: 0.5, memory: "64m" },
    { cpus: { max: 2 }, memory: { min: "64m", max: "1g" } },
  ];
  const services = limits.map((each, index) =>
    parseService({ name: `a${index}`, image: "a:1", port: 80, ...each }, "services[0]"),
  );
  const read = readOutputs({ services: describeServices(services), ports: {} });
  const shown = (stack: typeof read) => stack?.services.map(({ cpus, memory }) => [cpus, memory]);
  expect(shown(read)).toEqual([
    [0.5, "64m"],
    ["auto (0.01 to 2)", "auto (64m to 1g)"],
  ]);
  const ports = { http: 80, stats: 1936, admin: 8404, consul: 8500, dns: 53 };
  expect(shown(planStack(services, ports as never))).toEqual(shown(read));
});
