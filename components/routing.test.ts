import { expect, test } from "vitest";

import { parseService } from "./config/services";
import { describeRoutes, describeServices, planRouting, planStack, readOutputs } from "./routing";

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

test("further ports are routed and compared like services", () => {
  const ports = { http: 80, stats: 1936, admin: 8404, consul: 8500, dns: 53 } as never;
  const more = [
    { port: 22, type: "tcp", meta: { tcp_port: "2222" } },
    { port: 9090, name: "stats" },
  ];
  const gitea = (further: object[]) =>
    parseService({ name: "gitea", image: "a:1", port: 80, replicas: 2, ports: further }, "services[0]");
  expect(describeRoutes(planRouting([gitea(more)], ports))).toEqual({
    "/gitea": "gitea × 2",
    "/stats": "stats × 2",
    "tcp port 2222": "gitea-22 × 2",
  });
  expect(planStack([gitea(more)], ports).services).toMatchObject([
    { name: "gitea" },
    { name: "gitea-22", type: "tcp", replicas: 2, runs: "port 22 of gitea" },
    { name: "stats", runs: "port 9090 of gitea" },
  ]);
  expect(readOutputs({ services: describeServices([gitea(more)]), ports: {} })?.services).toHaveLength(3);
  const clash = () => planRouting([gitea([{ port: 22, type: "tcp", meta: { tcp_port: "80" } }])], ports);
  expect(clash).toThrow("services[0] cannot be routed");
  expect(() => planRouting([gitea([{ port: 22, name: "rest" }])], ports)).toThrow("the load balancer");
});
