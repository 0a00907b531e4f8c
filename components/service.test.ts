import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";

import { SIGNATURE } from "../engine/wire";
import { parseService } from "./config/services";
import { Networks } from "./networks";
import { Service } from "./service";
import { SwarmFiles } from "./swarm-files";
import type { SwarmCluster } from "./swarm-cluster";

async function inputsOf(
  hasSecrets: boolean,
  more: object = {},
  files: Record<string, unknown>[] = [],
): Promise<Record<string, unknown>> {
  let found: Record<string, unknown> = {};
  await pulumi.runtime.setMocks({
    call: () => ({}),
    newResource: ({ type, name, inputs }) => {
      if (type.endsWith("SwarmService")) found = inputs as Record<string, unknown>;
      if (type.endsWith("SwarmFile")) files.push(inputs as Record<string, unknown>);
      return { id: name, state: { ...(inputs as object), fileName: `${name}-file` } };
    },
  });
  const config = {
    ...parseService(
      {
        name: "web",
        build: "hello",
        port: 8080,
        env: { TOKEN: "secret" },
        command: ["run", "secret"],
        healthCheck: { command: ["check", "secret"] },
        ...more,
      },
      "web",
    ),
    ...(hasSecrets && { hasSecrets }),
  };
  await pulumi.runtime.runInPulumiStack(() => {
    const swarm = new pulumi.ComponentResource("test:index:Swarm", "swarm");
    Object.assign(swarm, { manager: "unix:///x", swarmId: "id" });
    const given = { services: [config], secrets: { db: "hush" }, configs: { motd: { content: "hi" } } };
    new Service("web", {
      config,
      networks: new Networks([config], swarm as unknown as SwarmCluster),
      files: new SwarmFiles({ ...given, swarm: swarm as unknown as SwarmCluster }),
      swarm: swarm as unknown as SwarmCluster,
      image: "hello:1",
      dns: "172.17.0.1",
    });
    return Promise.resolve();
  });
  await pulumi.runtime.disconnect();
  return found;
}

test("a service with secrets keeps its variables, command and health check secret", async () => {
  const marked = (inputs: Record<string, unknown>) =>
    Object.keys(inputs).filter((key) => JSON.stringify(inputs[key]).includes(SIGNATURE));
  expect(marked(await inputsOf(true)).sort()).toEqual(["args", "env", "healthCheck"]);
  expect(marked(await inputsOf(false))).toEqual([]);
});

test("a service with a range tells the autoscaler by labels of the Swarm service, not of its containers", async () => {
  const inputs = await inputsOf(false, { replicas: { min: 0, max: 5, target: 2, idle: "5m" } });
  expect(inputs).toMatchObject({
    replicas: { min: 0, max: 5 },
    serviceLabels: {
      "switchyard.replicas.min": "0",
      "switchyard.replicas.max": "5",
      "switchyard.replicas.target": "2",
      "switchyard.replicas.idle": "5m",
    },
  });
  expect(JSON.stringify(inputs["labels"])).not.toContain("switchyard.replicas");
  expect(await inputsOf(false, { replicas: 3 })).not.toHaveProperty("serviceLabels");
});

test("automatic limits are labels of the Swarm service and of its containers", async () => {
  const inputs = await inputsOf(false, { memory: { min: "64m", max: "1g" }, cpus: 0.5 });
  const labels = { "switchyard.memory.min": "64m", "switchyard.memory.max": "1g" };
  expect(inputs).toMatchObject({ replicas: 1, serviceLabels: labels, labels: { ...labels, SERVICE_NAME: "web" } });
  expect(inputs["limits"]).toEqual({ cpus: 0.5, memoryBytes: { min: 64 * 1024 ** 2, max: 1024 ** 3 } });
}); // prettier-ignore

test("a worker has no port, and Registrator ignores it", async () => {
  const inputs = await inputsOf(false, { type: "none", port: undefined, healthCheck: undefined });
  expect(inputs).not.toHaveProperty("ports");
  expect(inputs["labels"]).toEqual({ SERVICE_NAME: "web", SERVICE_IGNORE: "true" });
});

test("each of several ports is published and registered with a name, a type and options of its own", async () => {
  const ports = [
    { port: 22, type: "tcp", meta: { tcp_port: "2222" } },
    { port: 9090, name: "stats" },
  ];
  const inputs = await inputsOf(false, { meta: { sticky: true }, ports });
  expect(inputs["ports"]).toEqual([{ target: 8080 }, { target: 22 }, { target: 9090 }]);
  expect(inputs["labels"]).toEqual({
    SERVICE_8080_NAME: "web",
    SERVICE_8080_TAGS: "rest",
    SERVICE_8080_STICKY: "true",
    SERVICE_22_NAME: "web-22",
    SERVICE_22_TAGS: "tcp",
    SERVICE_22_TCP_PORT: "2222",
    SERVICE_9090_NAME: "stats",
    SERVICE_9090_TAGS: "rest",
  });
});

test("an instance stops before the next starts only if both would write to one node's files", async () => {
  const inputs = async (...volumes: string[]) => inputsOf(false, { volumes });
  expect(await inputs("data:/data")).toMatchObject({
    mounts: [{ type: "volume", source: "stack_data", target: "/data" }],
    updateConfig: { order: "stop-first" },
  });
  expect(await inputs("data:/data:ro")).not.toHaveProperty("updateConfig");
  expect(await inputs()).not.toHaveProperty("mounts");
});

test("a service mounts secrets and configs, whose contents are secret", async () => {
  const files: Record<string, unknown>[] = [];
  const more = { secrets: ["db"], configs: [{ source: "motd", target: "/etc/motd", mode: "0400" }] };
  expect(await inputsOf(false, more, files)).toMatchObject({
    secrets: [{ id: "secrets-db", name: "secrets-db-file", target: "db" }],
    configs: [{ id: "configs-motd", name: "configs-motd-file", target: "/etc/motd", mode: 0o400 }],
  });
  expect(files).toHaveLength(2);
  for (const { content } of files) expect(JSON.stringify(content)).toContain(SIGNATURE);
});

test("a service is on the networks of the stack, under its own name and others", async () => {
  const inputs = await inputsOf(false, { networks: { shop: { aliases: ["www"] }, back: null } });
  expect(inputs["networks"]).toEqual([
    { id: "network-shop", aliases: ["www"] },
    { id: "network-back", aliases: [] },
  ]);
});

test("how instances run reaches Docker in its terms, and what is not set stays Docker's", async () => {
  const inputs = await inputsOf(false, {
    mode: "global",
    placement: { spread: ["node.labels.zone"], max_replicas_per_node: 2 },
    update: { delay: "2m", failure_action: "pause" },
    restart_policy: { condition: "on-failure", delay: "10s", max_attempts: 3 },
    user: "1000:1000",
    read_only: true,
    init: true,
    cap_add: ["NET_ADMIN"],
    cap_drop: ["ALL"],
    ulimits: { nofile: 1024, nproc: { soft: 1, hard: 2 } },
    stop_signal: "SIGINT",
    extra_hosts: ["db.lan:10.0.0.7"],
    logging: { driver: "json-file", options: { "max-size": "10m", "max-file": 3 } },
    entrypoint: ["sh"],
  });
  expect(inputs).toMatchObject({
    global: true,
    spread: ["node.labels.zone"],
    maxReplicasPerNode: 2,
    updateConfig: { delaySeconds: 120, failureAction: "pause" },
    restartPolicy: { condition: "on-failure", delaySeconds: 10, maxAttempts: 3 },
    user: "1000:1000",
    readOnly: true,
    init: true,
    capAdd: ["CAP_NET_ADMIN"],
    capDrop: ["ALL"],
    ulimits: { nofile: { soft: 1024, hard: 1024 }, nproc: { soft: 1, hard: 2 } },
    stopSignal: "SIGINT",
    hosts: { "db.lan": "10.0.0.7", "rest.service.consul": "172.17.0.1" },
    logging: { driver: "json-file", options: { "max-size": "10m", "max-file": "3" } },
    command: ["sh"],
  });
  expect(Object.keys(await inputsOf(false)).sort()).toEqual(
    ["__provider", "args", "dns", "env", "healthCheck", "host", "hosts", "image", "labels", "name", "owner", "ports", "replicas", "stopGracePeriodSeconds", "swarmId"], // prettier-ignore
  );
});

test("a job has its schedule as labels, and each run takes the place of the last one", async () => {
  const job = { port: undefined, healthCheck: undefined, schedule: { cron: "0 3 * * *", deadline: "2h" } };
  expect(await inputsOf(false, job)).toMatchObject({
    serviceLabels: {
      "switchyard.schedule": "0 3 * * *",
      "switchyard.schedule.zone": "UTC",
      "switchyard.schedule.deadline": "2h",
    },
    restartPolicy: { condition: "none" },
    updateConfig: { order: "stop-first", failureAction: "continue" },
    labels: { SERVICE_IGNORE: "true" },
  });
  const restart_policy = { condition: "on-failure", max_attempts: 3 };
  expect(await inputsOf(false, { ...job, restart_policy })).toMatchObject({
    restartPolicy: { condition: "on-failure", maxAttempts: 3 },
  });
});
