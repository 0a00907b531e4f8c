import { describe, expect, test } from "vitest";

import { parseImage, violation } from "./rules";
import { container, rollingContainer, swarmService, type Registration } from "./types";

const built = { hasHealthCheck: (repository: string) => repository === "switchyard/hello" };
const refusal = (type: string, inputs: Registration["inputs"], parentType?: string) =>
  violation({ type, name: "it", parentType, inputs }, built);

const digest = `sha256:${"0".repeat(64)}`;
const healthy = { image: "switchyard/hello:1a2b" };

describe("only 80 and 443 are open to the world", () => {
  const group = "aws:ec2/securityGroup:SecurityGroup";
  const groupRule = "aws:ec2/securityGroupRule:SecurityGroupRule";
  const ingressRule = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";
  const firewall = "gcp:compute/firewall:Firewall";
  const world = ["0.0.0.0/0"];
  const ingress = (more: object) => ({ ingress: [{ protocol: "tcp", fromPort: 22, toPort: 22, ...more }] });

  test.each<[string, string, Record<string, unknown>]>([
    ["ssh", group, ingress({ cidrBlocks: world })],
    ["ssh over IPv6", group, ingress({ ipv6CidrBlocks: ["::/0"] })],
    ["ssh for both halves of the world", group, ingress({ cidrBlocks: ["0.0.0.0/1", "128.0.0.0/1"] })],
    ["a range that includes 80", group, ingress({ fromPort: 80, toPort: 443, cidrBlocks: world })],
    ["443 over UDP", group, ingress({ protocol: "udp", fromPort: 443, toPort: 443, cidrBlocks: world })],
    ["all protocols", group, ingress({ protocol: "-1", fromPort: 0, toPort: 0, cidrBlocks: world })],
    ["a separate rule resource", groupRule, { type: "ingress", protocol: "tcp", fromPort: 2376, toPort: 2376, cidrBlocks: world }], // prettier-ignore
    ["an ingress rule resource", ingressRule, { ipProtocol: "tcp", fromPort: 1936, toPort: 1936, cidrIpv4: "0.0.0.0/0" }], // prettier-ignore
    ["ssh on GCE", firewall, { allows: [{ protocol: "tcp", ports: ["80", "22"] }], sourceRanges: world }],
    ["a range on GCE", firewall, { allows: [{ protocol: "tcp", ports: ["80-443"] }], sourceRanges: world }], // prettier-ignore
    ["every port on GCE", firewall, { allows: [{ protocol: "tcp" }], sourceRanges: world }],
    [
      "a GCE rule without sources, which allows all",
      firewall,
      { allows: [{ protocol: "tcp", ports: ["22"] }] },
    ],
    ["a published port", container, { ...healthy, ports: [{ internal: 8500, external: 8500 }] }],
    ["every exposed port", container, { ...healthy, publishAllPorts: true }],
  ])("%s is rejected", (_, type, inputs) => {
    expect(refusal(type, inputs)).toMatch(
      /"it" opens .* to the world, but only 80 and 443 may be: limit it to/,
    );
  });

  test.each<[string, string, Record<string, unknown>]>([
    ["HTTP", group, ingress({ fromPort: 80, toPort: 80, cidrBlocks: world })],
    [
      "HTTPS, with TCP by number",
      group,
      ingress({ protocol: "6", fromPort: 443, toPort: 443, cidrBlocks: world }),
    ],
    ["ssh for an office", group, ingress({ cidrBlocks: ["198.51.100.0/24"] })],
    ["everything within a network", group, ingress({ protocol: "-1", cidrBlocks: ["10.0.0.0/8"] })],
    ["outgoing traffic", groupRule, { type: "egress", protocol: "-1", fromPort: 0, toPort: 0, cidrBlocks: world }], // prettier-ignore
    ["a source by tag", firewall, { allows: [{ protocol: "all" }], sourceTags: ["switchyard"] }],
    ["outgoing traffic on GCE", firewall, { direction: "EGRESS", allows: [{ protocol: "all" }] }],
    ["a port on loopback", container, { ...healthy, ports: [{ external: 8500, ip: "127.0.0.1" }] }],
    ["a published HTTP port", container, { ...healthy, ports: [{ external: 80 }] }],
  ])("%s is accepted", (_, type, inputs) => {
    expect(refusal(type, inputs)).toBeUndefined();
  });
});

describe("no image is :latest", () => {
  const pull = "pulumi-nodejs:dynamic/switchyard:ImagePull";
  const build = (base: string) => ({ build: { args: { BASE: base } } });

  test.each<[string, string, Record<string, unknown>]>([
    ["by name", container, { image: "nginx:latest" }],
    ["in a rolling container", rollingContainer, { image: "nginx:latest" }],
    ["without a tag", swarmService, { image: "registry:5000/team/nginx" }],
    ["pulled", pull, { image: "redis" }],
    ["as a base image", "docker:index/image:Image", build("debian")],
  ])("an image %s is rejected", (_, type, inputs) => {
    expect(refusal(type, inputs)).toMatch(
      /"it" uses the image .* use a version or a digest, such as .*:1\.2\.3/,
    );
  });

  test.each<[string, string, Record<string, unknown>]>([
    ["a version", swarmService, { image: "nginx:1.29", healthCheck: { test: ["CMD", "true"] } }],
    ["a digest", container, { image: `nginx@${digest}`, healthcheck: { tests: ["CMD", "true"] } }],
    ["an ID", container, { image: digest, healthcheck: { tests: ["CMD", "true"] } }],
    ["a pinned base image", "docker:index/image:Image", build("debian:13.1-slim")],
  ])("%s is accepted", (_, type, inputs) => {
    expect(refusal(type, inputs)).toBeUndefined();
  });
});

describe("every service has a health check", () => {
  const image = "shop:1.4.2";

  test.each<[string, string, Record<string, unknown>]>([
    ["a service without one", swarmService, { image, labels: { SERVICE_NAME: "shop/v1" } }],
    ["a rolling container without one", rollingContainer, { image, labels: { SERVICE_NAME: "shop" } }],
    ["a container without one", container, { image, labels: [{ label: "SERVICE_NAME", value: "shop" }] }],
    ["a disabled one", swarmService, { image, healthCheck: { test: ["NONE"] } }],
    ["only an interval", swarmService, { image, labels: { SERVICE_CHECK_INTERVAL: "5s" } }],
  ])("%s is rejected", (_, type, inputs) => {
    expect(refusal(type, inputs)).toMatch(/"it" has no health check.* set healthCheck/);
  });

  test.each<[string, string, Record<string, unknown>]>([
    ["a command", swarmService, { image, healthCheck: { test: ["CMD", "true"] } }],
    ["the load balancer's check", swarmService, { image, labels: { SERVICE_HEALTH_PATH: "/health" } }],
    ["a Consul check", swarmService, { image, labels: { SERVICE_5432_CHECK_TCP: "true" } }],
    ["the image's own", swarmService, { image, labels: { "switchyard.healthcheck": "image" } }],
    ["the image's own, built here", swarmService, { image: "switchyard/hello:1a2b" }],
    ["none, for a worker", swarmService, { image, labels: { SERVICE_IGNORE: "true" } }],
    ["none, for a container that is not a service", container, { image, labels: [{ label: "SERVICE_IGNORE", value: "true" }] }], // prettier-ignore
  ])("%s is accepted", (_, type, inputs) => {
    expect(refusal(type, inputs)).toBeUndefined();
  });
});

describe("only filters mount the Docker socket", () => {
  const volumes = (hostPath: string) => ({ ...healthy, volumes: [{ hostPath, containerPath: "/tmp/docker.sock" }] }); // prettier-ignore

  test.each<[string, Record<string, unknown>, string | undefined]>([
    ["directly", volumes("/var/run/docker.sock"), undefined],
    ["in another component", volumes("/run/docker.sock"), "switchyard:index:LoadBalancer"],
    ["inside its folder", volumes("/var/run/"), undefined],
    ["inside the root folder", volumes("/"), undefined],
    ["as a mount", { ...healthy, mounts: [{ type: "bind", source: "/var/run/docker.sock" }] }, undefined],
  ])("mounting it %s is rejected", (_, inputs, parentType) => {
    expect(refusal(container, inputs, parentType)).toMatch(
      /"it" mounts the Docker socket.* remove the mount, which only the filters in front of Registrator, the autoscaler and backups may have/,
    );
  });

  test("mounting it in a service is rejected", () => {
    const mounts = [{ type: "bind", source: "/var/run/docker.sock", target: "/x" }];
    expect(refusal(swarmService, { ...healthy, mounts })).toMatch("mounts the Docker socket");
  });

  test("mounting it in a rolling container is rejected", () => {
    expect(refusal(rollingContainer, volumes("/var/run/docker.sock"))).toMatch("mounts the Docker socket");
  });

  test("the filters of Registrator and the autoscaler may mount it, and others may mount other folders", () => {
    for (const filter of ["DockerSocketProxy", "AutoscalerSocket"])
      expect(
        refusal(container, volumes("/var/run/docker.sock"), `switchyard:index:${filter}`),
      ).toBeUndefined();
    expect(refusal(container, volumes("/var/run/docker.sock"), "switchyard:index:Autoscaler")).toBeDefined();
    expect(refusal(container, volumes("/etc/switchyard/certificates"))).toBeUndefined();
  });
});

test.each([
  ["nginx", { repository: "nginx" }],
  ["localhost:5000/a/b:1.2", { repository: "localhost:5000/a/b", tag: "1.2" }],
  [`a/b:1@${digest}`, { repository: "a/b", tag: "1", digest }],
])("splits %s into its parts", (reference, parts) => {
  expect(parseImage(reference)).toEqual(parts);
});
