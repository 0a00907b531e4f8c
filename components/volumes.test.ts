import * as pulumi from "@pulumi/pulumi";
import { beforeAll, expect, test } from "vitest";

import { parseService } from "./config/services";
import { groupsOf, mountsOf } from "./volumes";

const service = (name: string, volumes: unknown[], more: object = {}) =>
  parseService({ name, image: "db:1", type: "none", volumes, ...more }, name);

beforeAll(() => pulumi.runtime.setMocks({ call: () => ({}), newResource: () => ({ id: "", state: {} }) }, "switchyard", "dev")); // prettier-ignore

const nfs = (device: string) => ({
  type: "volume",
  source: "data",
  target: "/nfs",
  driver_opts: { type: "nfs", o: "addr=10.0.0.9", device },
});

test("volumes have the stack in their name, and those on a file server their options, too", () => {
  const nameOf = (volume: unknown) => mountsOf(service("db", [volume]))[0]?.source;
  expect(nameOf("data:/data")).toBe("dev_data");
  expect(nameOf(nfs(":/a"))).toMatch(/^dev_data_[0-9a-f]{8}$/);
  expect(nameOf(nfs(":/a"))).not.toBe(nameOf(nfs(":/b")));
});

test("a path relative to the stack file must exist", () => {
  expect(mountsOf(service("db", ["./docs:/docs:ro", "/nowhere:/x"]))).toMatchObject([
    { type: "bind", source: `${process.cwd()}/docs`, target: "/docs", readOnly: true },
    { type: "bind", source: "/nowhere", target: "/x" },
  ]);
  expect(() => mountsOf(service("db", ["./nowhere:/x"]))).toThrow(
    "db mounts ./nowhere, which does not exist",
  );
});

test("services that share a volume have all of theirs on one node; others, and file servers, do not matter", () => {
  const placement = { constraints: ["node.labels.disk==ssd"] };
  expect(
    groupsOf([
      service("a", ["one:/1", "two:/2"]),
      service("b", ["three:/3", nfs(":/a"), "/srv:/srv"]),
      service("c", ["two:/2"], { placement }),
      service("d", []),
    ]),
  ).toEqual([
    { volumes: ["dev_three"], constraints: [] },
    { volumes: ["dev_one", "dev_two"], constraints: ["node.labels.disk==ssd"] },
  ]);
});
