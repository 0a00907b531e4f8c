import { createHmac } from "node:crypto";

import { beforeAll, describe, expect, test } from "vitest";

import { gossipKey, password, privateKey, token, type Recorded, type Recording } from "./record-stack";
import { record } from "./recording";

let recording: Recording;

const ofType = (type: string): Recorded[] => recording.resources.filter((resource) => resource.type === type);
const containers = (): Recorded[] => [
  ...ofType("docker:index/container:Container"),
  ...ofType("pulumi-nodejs:dynamic/switchyard:RollingContainer"),
];
const container = (name: string): Recorded["inputs"] =>
  containers().find((resource) => resource.name === name)?.inputs ?? {};

describe.each([
  ["up", false],
  ["preview", true],
])("the dev stack in %s", (_, preview) => {
  beforeAll(async () => {
    recording = await record("dev", preview ? "preview" : "up");
  }, 60_000);

  test("consists of these resources", () => {
    const names = recording.resources
      .map(({ type, name }) => `${type.replace(/^.*[:/]/, "")} ${name}`)
      .sort();
    expect(names).toEqual(
      [
        "Consul consul-local",
        "ConsulAccess consul",
        "ConsulAcl consul",
        "ConsulCertificates consul",
        "ConsulGuard consul",
        "ConsulMember consul-local",
        "ConsulTokens consul",
        "Container consul-local",
        "Container docker-socket-proxy-local",
        "Container firewall-local",
        "Container registrator-local",
        "DockerEngine local",
        "DockerSocketProxy docker-socket-proxy-local",
        "Firewall firewall-local",
        "FirewallInForce firewall-local",
        "FreePorts local",
        "Image local-consul",
        "Image local-firewall",
        "Image local-haproxy",
        "Image local-hello",
        "Image local-registrator",
        "LoadBalancer rest-local",
        "LocalNode local",
        "RandomKey gossip",
        "RandomKey rest-local",
        ...["agent-local", "autoscaler", "load-balancer", "management", "operator", "registrator"].map(
          (role) => `RandomToken consul-${role}`,
        ),
        "Registrator registrator-local",
        "RollingContainer rest-local",
        "SecretFiles consul-local",
        "SecretFiles registrator-local",
        "SecretFiles rest-local",
        "Service hello/v1",
        "Service hello/v2",
        "Service time",
        "Stack switchyard-dev",
        "Swarm swarm",
        "SwarmCluster swarm",
        "SwarmMember swarm-local",
        "SwarmService hello/v1",
        "SwarmService hello/v2",
        "SwarmService time",
        "Volume consul-local",
        "Volume consul-local-secrets",
        "Volume docker-socket-proxy-local",
        "Volume registrator-local-secrets",
        "Volume rest-local",
        "Volume rest-local-secrets",
        "docker local",
      ].sort(),
    );
  });

  test("gives every container only the privileges it needs", () => {
    for (const { name, inputs } of containers()) {
      expect(inputs, name).toMatchObject({ capabilities: { drops: ["ALL"] }, restart: "always" });
      expect(inputs, name).not.toHaveProperty("privileged");
    }
    expect(container("rest-local")).toMatchObject({ readOnly: true });
    expect(container("registrator-local")).toMatchObject({ readOnly: true });
    const withSocket = containers().filter(({ inputs: { volumes, mounts } }) =>
      JSON.stringify([volumes, mounts]).includes("docker.sock"),
    );
    expect(withSocket.map(({ name }) => name)).toEqual(["docker-socket-proxy-local"]);
    const registrator = container("registrator-local");
    expect(registrator).toMatchObject({ user: "65534", readOnly: true });
    expect(registrator["envs"]).toContain("DOCKER_HOST=unix:///run/docker-socket-proxy/docker.sock");
    expect(JSON.stringify(registrator["volumes"])).not.toContain("docker.sock");
    expect(container("docker-socket-proxy-local")).toMatchObject({ networkMode: "none", readOnly: true });
  });

  test("exposes the admin port and Consul on the node only", () => {
    expect(container("rest-local")["command"]).toContain("--admin=127.0.0.1:8404");
    expect(container("rest-local")["env"]).toMatchObject({ value: { NODE_NAME: "local" } });
    if (preview) return;
    const [, settings = ""] = container("consul-local")["command"] as string[];
    expect(JSON.parse(settings.replace("-hcl=", ""))).toMatchObject({
      addresses: { http: "127.0.0.1 172.17.0.1", dns: "172.17.0.1" },
      bind_addr: "172.17.0.1",
      server: true,
      bootstrap_expect: 1,
    });
    expect(settings).not.toContain(gossipKey);
  });

  test("keeps the password secret", () => {
    expect(JSON.stringify(recording.resources.filter(({ name }) => name !== "rest-local"))).not.toContain(
      password,
    );
    expect(container("rest-local")["command"]).not.toContain(password);
    // What tells of a change of the password must not tell whether a guess is right.
    const { value } = container("rest-local")["env"] as { value: Record<string, string> };
    expect(value["STATS_PASSWORD_FINGERPRINT"]).toBe(
      createHmac("sha256", gossipKey).update(password).digest("hex").slice(0, 16),
    );
  });

  test("keeps keys and tokens out of the containers' definitions", () => {
    for (const { name, inputs } of containers()) {
      expect(JSON.stringify(inputs), name).not.toContain(token);
      expect(JSON.stringify(inputs), name).not.toContain(gossipKey);
      expect(JSON.stringify(inputs), name).not.toContain(privateKey);
    }
  });

  test("gives every service Consul's DNS and its registration labels", () => {
    const services = ofType("pulumi-nodejs:dynamic/switchyard:SwarmService");
    expect(services.find(({ name }) => name === "hello/v1")?.inputs).toMatchObject({
      name: "hello-v1",
      owner: "switchyard/dev",
      replicas: 3,
      labels: { SERVICE_NAME: "hello/v1", SERVICE_TAGS: "rest" },
      ...(preview
        ? {}
        : {
            dns: ["172.17.0.1"],
            hosts: { "rest.service.consul": "172.17.0.1" },
            swarmId: "swarm-id",
          }),
    });
  });

  test("lists URLs and routes in its outputs", () => {
    expect(recording.outputs).toMatchObject({
      urls: { "hello/v1": "http://localhost/hello/v1", time: "http://localhost/time" },
      routes: { "/hello": "hello/v2 × 2", "/hello/v1": "hello/v1 × 3", "/time": "time × 1" },
      admin: "http://localhost:8404",
      statistics: "http://localhost:1936",
      consulPage: "http://localhost:8500",
      nodes: [{ name: "local", publicAddress: "localhost", url: "http://localhost" }],
    });
  });
});

const recordHosts = (config: object): Promise<Recording> => record("hosts", "up", config);

test("every load balancer asks Consul's DNS for names, and has the folder of authorities", async () => {
  const { resources } = await recordHosts({ certificateAuthorities: "/etc/authorities" });
  const balancers = resources.filter(({ inputs }) => inputs["name"] === "rest");
  expect(balancers.length).toBeGreaterThan(1);
  for (const { inputs } of balancers) {
    expect(inputs["command"]).toEqual(
      expect.arrayContaining(["--dns=172.17.0.1:53", "--authorities=/authorities"]),
    );
    expect(inputs["volumes"]).toContainEqual({
      hostPath: "/etc/authorities",
      containerPath: "/authorities",
      readOnly: true,
    });
  }
}, 60_000);

test("every load balancer knows the proxies in front of it", async () => {
  const { resources } = await recordHosts({
    trustedProxies: ["10.0.0.0/8", "192.0.2.7"],
    proxyProtocol: true,
  });
  const balancers = resources.filter(({ inputs }) => inputs["name"] === "rest");
  expect(balancers.length).toBeGreaterThan(1);
  for (const { inputs } of balancers)
    expect(inputs["command"]).toEqual(
      expect.arrayContaining(["--trust-forwarded=10.0.0.0/8,192.0.2.7", "--proxy-protocol"]),
    );
}, 60_000);

test("a service with a range brings the autoscaler: on every node, and on managers with a narrow socket", async () => {
  const service = { name: "hello/v1", build: "hello", port: 8080, replicas: { max: 5, target: 2 } };
  const hosts = ["a", "b", "c", "d"].map((name, index) => ({
    name,
    address: `192.0.2.${index + 1}`,
    docker: `ssh://root@192.0.2.${index + 1}`,
  }));
  recording = await recordHosts({ services: [service], hosts });
  const ofKind = (prefix: string) => containers().filter(({ name }) => name.startsWith(prefix));
  const sockets = ofKind("autoscaler-docker-");
  expect(sockets.map(({ name }) => name.slice(-1)).sort()).toEqual(["a", "b", "c"]);
  for (const { inputs } of sockets)
    expect(inputs).toMatchObject({
      networkMode: "none",
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      command: ["docker", "--listen=/run/autoscaler-docker/docker.sock"],
    });
  const scalers = ofKind("autoscaler-").filter(({ name }) => !name.startsWith("autoscaler-docker-"));
  expect(scalers.map(({ name }) => name.slice(-1)).sort()).toEqual(["a", "b", "c", "d"]);
  for (const { name, inputs } of scalers) {
    expect(inputs).toMatchObject({ user: "65534", readOnly: true, capabilities: { drops: ["ALL"] } });
    expect(JSON.stringify(inputs)).not.toContain(token);
    expect(inputs["volumes"]).not.toContainEqual(
      expect.objectContaining({ hostPath: expect.anything() as string }),
    );
    const isManager = name !== "autoscaler-d";
    expect(inputs["command"]).toEqual([
      `--node=${name.slice(-1)}`,
      "--consul=127.0.0.1:8500",
      ...(isManager ? ["--swarm=/run/autoscaler-docker/docker.sock"] : []),
      "--admin=127.0.0.1:8405",
    ]);
  }
}, 60_000);

test("an automatic limit brings the narrow socket to every node, because each changes its own instances", async () => {
  const service = { name: "hello/v1", build: "hello", port: 8080, memory: "auto" };
  const hosts = ["a", "b", "c", "d"].map((name, index) => ({
    name,
    address: `192.0.2.${index + 1}`,
    docker: `ssh://root@192.0.2.${index + 1}`,
  }));
  recording = await recordHosts({ services: [service], hosts });
  const options = containers()
    .filter(({ inputs }) => inputs["name"] === "autoscaler")
    .map(({ inputs }) => (inputs["command"] as string[])[2]);
  const socket = "/run/autoscaler-docker/docker.sock";
  expect(options.sort()).toEqual([`--limits=${socket}`, ...[1, 2, 3].map(() => `--swarm=${socket}`)]);
}, 60_000);

test.each([
  ["", ["--jobs-only"]],
  ["dry", ["--dry"]],
])(
  "a job brings the autoscaler, also with autoscaler %j",
  async (autoscaler, options) => {
    const service = { name: "report", build: "hello", schedule: "0 3 * * *" };
    const hosts = ["a", "b", "c", "d"].map((name, index) => ({
      name,
      address: `192.0.2.${index + 1}`,
      docker: `ssh://root@192.0.2.${index + 1}`,
    }));
    recording = await recordHosts({ services: [service], hosts, ...(autoscaler !== "" && { autoscaler }) });
    const scalers = containers().filter(({ inputs }) => inputs["name"] === "autoscaler");
    const managers = scalers.filter(({ inputs }) => JSON.stringify(inputs["command"]).includes("--swarm="));
    expect(managers).toHaveLength(3);
    for (const { inputs } of managers) expect(inputs["command"]).toEqual(expect.arrayContaining(options));
    // Elsewhere, it only measures.
    expect(scalers).toHaveLength(autoscaler === "dry" ? 4 : 3);
    const measures = (inputs: Readonly<Record<string, unknown>>) =>
      JSON.stringify(inputs).includes("DOCKER_HOST");
    expect(scalers.every(({ inputs }) => measures(inputs))).toBe(autoscaler === "dry");
  },
  60_000,
);

describe("with a registry", () => {
  test("the first node builds and pushes images, and all nodes pull them by digest", async () => {
    recording = await recordHosts({ registry: "registry.example.com/acme" });
    const built = ofType("docker:index/image:Image");
    expect(built.map(({ name }) => name.replace(/-.*/, ""))).toEqual(built.map(() => "alpha"));
    for (const { inputs } of built) {
      expect(inputs).toMatchObject({ skipPush: false });
      expect(inputs["imageName"]).toMatch(/^registry\.example\.com\/acme\/[a-z]+:[0-9a-f]{12}$/);
    }
    const pulled = ofType("pulumi-nodejs:dynamic/switchyard:ImagePull");
    expect(pulled).toHaveLength(built.length * 3);
    const used = [
      ...pulled.map(({ inputs }) => inputs["image"]),
      ...containers().map(({ inputs }) => inputs["image"]),
    ];
    for (const image of used) {
      expect(image).toMatch(/^registry\.example\.com\/acme\/[a-z]+@sha256:[0-9a-f]{64}$/);
    }
  }, 60_000);

  test("nodes with different platforms are rejected", async () => {
    const hosts = ["amd64", "arm64"].map((arch, index) => ({
      name: arch,
      address: `192.0.2.${index + 1}`,
      docker: `ssh://root@192.0.2.${index + 1}`,
      platform: `linux/${arch}`,
    }));
    await expect(recordHosts({ registry: "registry.example.com/acme", hosts })).rejects.toThrow(
      /switchyard:registry is set, but node amd64 runs linux\/amd64 and node arm64 runs linux\/arm64: unset it/,
    );
  }, 60_000);
});
