import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { driftedInputs, nextSpec } from "./diff";
import type { InputKey, ServiceInputs } from "./inputs";
import { inputsOf, type ServiceSpec } from "./spec";

const wanted: ServiceInputs = {
  name: "hello-v1",
  image: "hello:1",
  command: ["sleep"],
  args: ["1000"],
  env: { A: "1" },
  labels: { L: "1" },
  replicas: 1,
  ports: [{ target: 8080 }],
  networks: [{ id: "network1", aliases: ["x"] }],
  limits: { cpus: 0.5, memoryBytes: 64 * 1024 ** 2 },
  dns: ["172.17.0.1"],
  hosts: { a: "1.2.3.4" },
  stopGracePeriodSeconds: 1,
  constraints: ["node.role==manager"],
  spread: ["node.labels.zone"],
  maxReplicasPerNode: 3,
  logging: { driver: "json-file", options: { "max-size": "1m" } },
  mounts: [{ type: "tmpfs", target: "/t", sizeBytes: 1024 ** 2 }],
  secrets: [{ id: "secret1", name: "s1", target: "s1" }],
  configs: [{ id: "config1", name: "s1", target: "/s1" }],
  user: "0",
  readOnly: true,
  init: true,
  capAdd: ["CAP_NET_ADMIN"],
  capDrop: ["CAP_CHOWN"],
  ulimits: { nofile: { soft: 100, hard: 200 } },
  stopSignal: "SIGINT",
  updateConfig: { monitorSeconds: 0.1, parallelism: 2 },
  restartPolicy: { condition: "on-failure", delaySeconds: 2 },
};
const marks = { "switchyard.owner": "switchyard/dev", "switchyard.claim": "c1" };
/** The service that Docker 20.10 made of these inputs, in the words of `docker service inspect`. */
const recorded = readFileSync("providers/swarm-service/recorded-service.json", "utf8");

/** The definition after somebody has changed it by hand: at `A.B.0.C`, a part is another one, or gone. */
function changed(path: string, value: unknown): ServiceSpec {
  const spec = JSON.parse(recorded) as ServiceSpec;
  const steps = path.split(".");
  const last = steps.pop() ?? "";
  const part = steps.reduce<Record<string, unknown>>((inner, step) => inner[step] as Record<string, unknown>, { ...spec }); // prettier-ignore
  if (value === undefined) Reflect.deleteProperty(part, last);
  else part[last] = value;
  return { ...spec, ...(steps.length === 0 && { [last]: value }) };
}

it("is none in a service that nobody has changed", () => {
  expect(driftedInputs(inputsOf(JSON.parse(recorded) as ServiceSpec), wanted)).toEqual([]);
});

const task = "TaskTemplate";
const container = `${task}.ContainerSpec`;
it.each<[InputKey, string, unknown]>([
  ["image", `${container}.Image`, "hello:2"],
  ["command", `${container}.Command`, ["tail"]],
  ["args", `${container}.Args`, undefined],
  ["env", `${container}.Env`, ["A=1", "B=2"]],
  ["labels", `${container}.Labels`, { L: "2" }],
  ["serviceLabels", "Labels", { ...marks, "switchyard.x": "1" }],
  ["replicas", "Mode", { Replicated: { Replicas: 2 } }],
  ["global", "Mode", { Global: {} }],
  ["ports", "EndpointSpec.Ports.0.PublishedPort", 9999],
  ["networks", `${task}.Networks`, [{ Target: "network1", Aliases: ["x"] }, { Target: "network2" }]],
  ["networks", `${task}.Networks.0.Aliases`, ["y"]],
  ["healthCheck", `${container}.Healthcheck`, { Test: ["NONE"] }],
  ["limits", `${task}.Resources.Limits.NanoCPUs`, 1e9],
  ["dns", `${container}.DNSConfig.Nameservers`, ["1.1.1.1"]],
  ["hosts", `${container}.Hosts`, ["1.2.3.5 a"]],
  ["stopGracePeriodSeconds", `${container}.StopGracePeriod`, 3e9],
  ["constraints", `${task}.Placement.Constraints`, ["node.role==manager", "node.labels.a==b"]],
  ["spread", `${task}.Placement.Preferences`, undefined],
  ["maxReplicasPerNode", `${task}.Placement.MaxReplicas`, 5],
  ["logging", `${task}.LogDriver.Options.max-size`, "2m"],
  ["logging", `${task}.LogDriver`, { Name: "local" }],
  ["mounts", `${container}.Mounts.0.TmpfsOptions`, undefined],
  ["secrets", `${container}.Secrets.0.SecretID`, "secret2"],
  ["secrets", `${container}.Secrets`, undefined],
  ["configs", `${container}.Configs.0.File.Mode`, 0o400],
  ["user", `${container}.User`, "1"],
  ["readOnly", `${container}.ReadOnly`, undefined],
  ["init", `${container}.Init`, false],
  ["capAdd", `${container}.CapabilityAdd`, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]],
  ["capDrop", `${container}.CapabilityDrop`, undefined],
  ["ulimits", `${container}.Ulimits.0.Hard`, 201],
  ["stopSignal", `${container}.StopSignal`, "SIGQUIT"],
  ["updateConfig", "UpdateConfig.Order", "stop-first"],
  ["updateConfig", "UpdateConfig.Monitor", 1],
  ["restartPolicy", `${task}.RestartPolicy.Condition`, "any"],
  ["restartPolicy", `${task}.RestartPolicy.MaxAttempts`, 7],
  ["unmanaged", "EndpointSpec.Mode", "vip"],
  ["unmanaged", "EndpointSpec.Ports.0.PublishMode", "ingress"],
  ["unmanaged", "RollbackConfig.Order", "stop-first"],
  ["unmanaged", "UpdateConfig.MaxFailureRatio", 0.5],
  ["unmanaged", `${task}.Resources.Reservations`, { MemoryBytes: 1e7 }],
  ["unmanaged", `${task}.Resources.Limits.Pids`, 100],
  ["unmanaged", `${container}.Hostname`, "h"],
  ["unmanaged", `${container}.Dir`, "/tmp"],
  ["unmanaged", `${container}.TTY`, true],
  ["unmanaged", `${container}.Groups`, ["5"]],
  ["unmanaged", `${container}.Sysctls`, { "net.core.somaxconn": "99" }],
  ["unmanaged", `${container}.DNSConfig.Search`, ["example.com"]],
])("of %s is seen, and put right: %s", (key, path, value) => {
  const current = changed(path, value);
  expect(driftedInputs(inputsOf(current), wanted)).toContain(key);
  const next = nextSpec(current, wanted, marks);
  // Docker does not change the mode; the service is replaced.
  if (key === "global") return;
  expect(driftedInputs(inputsOf(next), wanted)).toEqual([]);
}); // prettier-ignore
