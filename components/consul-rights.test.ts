import { describe, expect, test } from "vitest";
import { accessorOf, consulFiles, versionOf, type ConsulSecrets } from "./consul-rights";

const secrets: ConsulSecrets = {
  management: "11111111-0000-4000-8000-000000000000",
  previousManagement: "",
  operator: "22222222-0000-4000-8000-000000000000",
  registrator: "33333333-0000-4000-8000-000000000000",
  loadBalancer: "44444444-0000-4000-8000-000000000000",
  autoscaler: "88888888-0000-4000-8000-000000000000",
  agents: { one: "55555555-0000-4000-8000-000000000000", two: "66666666-0000-4000-8000-000000000000" },
};
const tls = { authorities: "authorities", certificate: "certificate", key: "key" };
const files = (server: boolean) => consulFiles(secrets, { node: "one", server, gossipKey: "gossip", tls });
const parsed = (file: string): unknown => JSON.parse(files(true)[file] ?? "");

describe("the files of a server", () => {
  test("have the management token where 1.8 and 1.21 read it", () => {
    expect(parsed("agent.json")).toEqual({
      encrypt: "gossip",
      ca_file: "/secrets/tls/authorities.pem",
      cert_file: "/secrets/tls/certificate.pem",
      key_file: "/secrets/tls/key.pem",
      acl: { tokens: { master: secrets.management } },
    });
  });

  test.each([
    ["operator", secrets.operator],
    ["registrator", secrets.registrator],
    ["load-balancer", secrets.loadBalancer],
    ["autoscaler", secrets.autoscaler],
    ["agent-one", secrets.agents["one"]],
    ["agent-two", secrets.agents["two"]],
  ])("give %s a token and a policy of its own", (role, secret = "") => {
    expect(parsed(`tokens/${accessorOf(secret)}.json`)).toEqual({
      AccessorID: accessorOf(secret),
      SecretID: secret,
      Description: `Switchyard ${role}`,
      Policies: [{ Name: `switchyard-${role}` }],
    });
    expect(parsed(`policies/switchyard-${role}.json`)).toMatchObject({ Name: `switchyard-${role}` });
  });

  test("let an agent write its own node only", () => {
    const { Rules } = parsed("policies/switchyard-agent-one.json") as { Rules: string };
    expect(Rules.split("\n")).toEqual([
      'node "one" { policy = "write" }',
      'service_prefix "" { policy = "read" }',
    ]);
  });

  test("let nobody but people write settings, and nobody without a token anything", () => {
    const rules = Object.entries(files(true)).filter(([path]) => path.startsWith("policies/"));
    const written = rules.flatMap(([path, content]) =>
      [...content.matchAll(/key(?:_prefix)? \\"([^"]*)\\" { policy = \\"write/g)].map(
        ([, key]) => `${path.replace(/^policies\/switchyard-(.*)\.json$/, "$1")}: ${key ?? ""}`,
      ),
    );
    expect(written).toEqual([
      "operator: ",
      "load-balancer: service/autoscaler/figures/",
      "load-balancer: service/autoscaler/wanted/",
      "autoscaler: service/haproxy/autoscaler",
      "autoscaler: service/haproxy/sleeping/",
      "autoscaler: service/autoscaler/",
    ]);
    expect(files(true)["policies/switchyard-anonymous.json"]).not.toContain("write");
    expect(rules.filter(([, content]) => content.includes("acl ="))).toEqual([]);
  });
});

test("a client knows no token that makes tokens, and not those of the load balancer and the autoscaler", () => {
  const everything = JSON.stringify(files(false));
  expect(everything).not.toContain(secrets.management);
  expect(everything).not.toContain(secrets.loadBalancer);
  expect(everything).not.toContain(secrets.autoscaler);
  expect(everything).not.toContain(secrets.agents["two"]);
});

test("an accessor is a UUID that tells nothing about its secret", () => {
  const accessor = accessorOf(secrets.operator);
  expect(accessor).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(accessor).not.toContain(secrets.operator.slice(0, 8));
});

test("the version changes with any token", () => {
  const other = "77777777-0000-4000-8000-000000000000";
  const versions = [
    versionOf(secrets),
    versionOf({ ...secrets, registrator: other }),
    versionOf({ ...secrets, agents: { ...secrets.agents, two: other } }),
    versionOf({ ...secrets, management: other }),
  ];
  expect(new Set(versions).size).toBe(versions.length);
  expect(versionOf({ ...secrets })).toBe(versions[0]);
});
