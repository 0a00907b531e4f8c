import { expect, it } from "vitest";

import { refuseTaken } from "./present";
import type { Mapping } from "./read";

const config = {
  "switchyard:services": [
    {
      name: "db",
      volumes: ["db_data:/var/lib", { type: "volume", source: "more", target: "/m" }, "./html:/h"],
      networks: { shop: { aliases: ["pg"] }, proxy: {} },
    },
    { name: "web", networks: ["front"] },
    "no mapping",
  ],
  "switchyard:configs": { web: { content: "x" } },
  "switchyard:secrets": { pw: { secure: "v1:x" }, "a.b": { secure: "v1:x" } },
};

function refused(services: Mapping[], compose: Mapping = {}, configs: Record<string, Mapping> = {}): string {
  try {
    refuseTaken({ services, configs, secrets: new Map(), fates: [] }, compose, config, "Pulumi.dev.yaml");
  } catch (error) {
    return String(error);
  }
  return "";
}

it.each<[string, Mapping[], Mapping?, Record<string, Mapping>?]>([
  ["a service web", [{ name: "web" }]],
  ["a volume db_data", [{ name: "a", volumes: ["db_data:/a:ro"] }]],
  ["a volume more", [{ name: "a", volumes: ["more:/a"] }]],
  ["a network shop", [{ name: "a", networks: ["shop"] }]],
  ["a network front", [{ name: "a", networks: { front: { aliases: ["x"] } } }]],
  ["a config web", [], {}, { web: { content: "y" } }],
  ["a secret pw", [], { secrets: { pw: { file: "gone" } } }],
  ["a secret a.b", [], { secrets: { "a.b": { file: "x", external: "false" } } }],
])("refuses what would meet %s", (name, ...given) => {
  expect(refused(...given)).toContain(`Pulumi.dev.yaml already has ${name}: `);
});

it("takes what has a name of its own, is a path or on a file server, or is meant to be shared", () => {
  const nfs = { type: "nfs", o: "addr=10.0.0.1", device: ":/x" };
  const volumes = [
    "data:/a",
    "./html:/h",
    { type: "volume", source: "db_data", target: "/n", driver_opts: nfs },
  ];
  const external = { external: "true" };
  expect(
    refused([{ name: "a", volumes, networks: ["other", "proxy"] }], {
      networks: { proxy: external },
      secrets: { pw: external, "a.b": { external: { name: "x" } } },
    }),
  ).toBe("");
});

it("takes anything into an empty stack file", () => {
  const services = [{ name: "web", volumes: ["db_data:/x"], networks: ["shop"] }];
  const imported = { services, configs: {}, secrets: new Map<string, string>(), fates: [] };
  expect(() => {
    refuseTaken(imported, {}, {}, "Pulumi.dev.yaml");
  }).not.toThrow();
});
