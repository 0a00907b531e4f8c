import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it, test } from "vitest";

import { SIGNATURE } from "../engine/wire";
import { declarationsOf, metadataOf } from "../routing/registration";
import { parseService } from "./config/services";
import { Networks } from "./networks";
import { registration, Service } from "./service";
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
  expect(inputs["labels"]).toMatchObject({ SERVICE_NAME: "web", SERVICE_IGNORE: "true" });
});

test("each of several ports is published and registered with a name, a type and options of its own", async () => {
  const ports = [
    { port: 22, type: "tcp", meta: { tcp_port: "2222" } },
    { port: 9090, name: "stats" },
  ];
  const inputs = await inputsOf(false, { meta: { sticky: true }, ports });
  expect(inputs["ports"]).toEqual([{ target: 8080 }, { target: 22 }, { target: 9090 }]);
  expect(inputs["labels"]).toMatchObject({
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

describe("what an image or `env` says about registration does not count", () => {
  const further = [{ port: 9090, name: "stats", meta: { host: "stats.example.com" } }];
  const config = (more: object) =>
    parseService(
      {
        name: "evil/v1",
        image: "evil:1",
        port: 8080,
        healthCheck: "image",
        meta: { sticky: "true" },
        ...more,
      },
      "evil",
    );
  const onePort = config({});
  const twoPorts = config({ ports: further });
  const worker = config({ type: "none", port: undefined, meta: {}, ports: [] });
  const job = config({ schedule: "@daily", port: undefined, meta: {}, healthCheck: undefined });
  const declared = Object.entries({
    "a name": { SERVICE_NAME: "bank/v9" },
    "a name for the port": { SERVICE_8080_NAME: "bank/v9", SERVICE_9090_NAME: "bank/v9" },
    "a name for another spelling of the port": { SERVICE_08080_NAME: "bank/v9" },
    "a key in mixed case": { SERVICE_8080_Name: "bank/v9", SERVICE_Name: "bank/v9", SERVICE_name: "bank/v9" },
    "a key with a protocol": { SERVICE_8080_UDP_NAME: "bank/v9", SERVICE_8080_TCP_NAME: "bank/v9" },
    tags: { SERVICE_8080_TAGS: "tcp", SERVICE_TAGS: "tcp" },
    "an option that is set": { SERVICE_8080_STICKY: "false" },
    "options that are not set": { SERVICE_PATH: "/bank", SERVICE_HOST: "bank.example.com", SERVICE_TCP_PORT: "25" },
    "a check": { SERVICE_CHECK_HTTP: "/", SERVICE_8080_CHECK_TTL: "8760h" },
    "an ID": { SERVICE_ID: "bank" },
    "a secret": { SERVICE_DB_PASSWORD: "hush" },
    "to be ignored": { SERVICE_IGNORE: "true", SERVICE_8080_IGNORE: "true" },
    "not to be ignored": { SERVICE_IGNORE: "false", SERVICE_8080_IGNORE: "false" },
    "which labels count": { "switchyard.labels": "SERVICE_PATH,SERVICE_8080_NAME", SERVICE_PATH: "/bank" },
  }); // prettier-ignore

  it.each(declared)("%s", (_, own: Readonly<Record<string, string>>) => {
    const variables = Object.entries(own).map(([key, value]) => `${key}=${value}`);
    for (const each of [onePort, twoPorts, worker, job]) {
      const labels = registration(each);
      for (const port of ["8080", "9090", "22"])
        for (const protocol of ["tcp", "udp"]) {
          // Docker merges an image's labels with those of the service, which win.
          const found = metadataOf(declarationsOf(variables, { ...own, ...labels }), port, protocol);
          expect(found).toEqual(metadataOf(declarationsOf([], labels), port, protocol));
        }
    }
  });

  it("and what the stack file says does", () => {
    const of = (port: string) =>
      Object.fromEntries(metadataOf(declarationsOf([], registration(twoPorts)), port).values);
    expect(of("8080")).toEqual({ name: "evil/v1", tags: "rest", sticky: "true" });
    expect(of("9090")).toEqual({ name: "stats", tags: "rest", host: "stats.example.com" });
    for (const each of [worker, job])
      expect(metadataOf(declarationsOf([], registration(each)), "8080").values.get("ignore")).toBe("true");
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
