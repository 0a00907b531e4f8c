import { describe, expect, test } from "vitest";

import { parseService } from "../components/config/services";
import { parseOptions } from "./options";
import { readDeployed, repositoryOf, secretVariables, subjectOf } from "./stack";

const node = { name: "one", host: "unix:///var/run/docker.sock" };
const other = { name: "two", host: "ssh://two.example.com", sshOpts: ["-i", "key"] };
const placed = { dev_data: "two", dev_files: "two" };
const resources = [
  {
    type: "docker:index/image:Image",
    inputs: { imageName: "switchyard/hello:1", build: { args: { BASE: "own" } } },
  },
  {
    type: "docker:index/image:Image",
    inputs: { imageName: "switchyard/haproxy:1", build: { args: { BASE: "base:1" } } },
  },
  {
    type: "pulumi-nodejs:dynamic/switchyard:NodeVolumes",
    inputs: { host: node.host, nodes: [node, other], owner: "shop/dev" },
    outputs: { host: node.host, nodes: [node, other], owner: "shop/dev", placed },
  },
];
const deployed = readDeployed(JSON.stringify({ resources }));
const services = [
  parseService(
    { name: "db/v1", image: "db", type: "none", volumes: ["data:/data", "files:/files", "/etc:/etc"] },
    "",
  ),
  parseService({ name: "web", image: "web", port: 80, volumes: ["files:/files:ro"] }, ""),
];

test("the state of both engines says where the volumes are", () => {
  expect(deployed).toEqual({ manager: { host: node.host }, nodes: [node, other], placed, owner: "shop/dev", base: "base:1" }); // prettier-ignore
  expect(readDeployed(JSON.stringify({ deployment: { resources } }))).toEqual(deployed);
  for (const state of ["", "{}", JSON.stringify({ resources: resources.slice(0, 2) })])
    expect(() => readDeployed(state)).toThrow(
      "The stack has no volumes yet: deploy it first, with script/up",
    );
});

describe("what to back up", () => {
  const data = { name: "data", dockerName: "dev_data" };
  const files = { name: "files", dockerName: "dev_files" };

  test.each([
    ["data", [data]],
    ["files", [files]],
    ["db/v1", [data, files]],
    ["db-v1", [data, files]],
  ])("%s", (name, volumes) => {
    expect(subjectOf(name, services, "dev", deployed)).toEqual({ volumes, node: other });
  });

  test.each([
    ["nothing", "There is no service or volume nothing: the stack's volumes are data, files"],
    ["web", "web writes to no volume of a node"],
  ])("%s is refused", (name, message) => {
    expect(() => subjectOf(name, services, "dev", deployed)).toThrow(message);
  });

  test("a database's dump, and not the files of its volume", () => {
    const backup = { schedule: "0 3 * * *", to: "/srv/b", dump: ["pg_dump"], load: ["psql"] };
    const own = { name: "db/v1", image: "db", type: "none", healthCheck: "image", volumes: ["data:/data"] };
    const dumped = [parseService({ ...own, backup }, "")];
    expect(subjectOf("db/v1", dumped, "dev", deployed)).toEqual({
      volumes: [data],
      node: other,
      to: "/srv/b",
      dump: { swarmName: "db-v1", load: ["psql"] },
    });
    expect(() => subjectOf("data", dumped, "dev", deployed)).toThrow("name db/v1 instead");
  });

  test("a volume that is not deployed is refused", () => {
    expect(() => subjectOf("data", services, "dev", { ...deployed, placed: {} })).toThrow("is not deployed");
  });
});

describe("where backups are", () => {
  test("a folder, S3 or SFTP", () => {
    expect(repositoryOf("/srv/b", other)).toEqual({ repository: "/repository", folder: "/srv/b" });
    expect(repositoryOf("b", node).folder).toBe(`${process.cwd()}/b`);
    for (const repository of ["s3:https://s3.example.com/b", "sftp:u@host:/b", "sftp://u@host:2222//b"])
      expect(repositoryOf(repository, other)).toEqual({ repository });
  });

  test.each([
    ["./b", "is a folder of this machine, but the volume is on node two"],
    ["b2:bucket", "is no place for backups"],
    ["/a:b", "has a colon"],
    ["s3:https://user:word@host/b", "A password in the place"],
    ["sftp://user:word@host//b", "A password in the place"],
  ])("%s is refused", (given, message) => {
    expect(() => repositoryOf(given, other)).toThrow(message);
  });
});

test("only the secrets of backups go to restic, and it needs the password", () => {
  const secrets = { backup_password: "word", backup_s3_secret_key: "key", db_password: "other" };
  const variables = ["BACKUP_PASSWORD=word", "BACKUP_S3_SECRET_KEY=key"];
  expect(secretVariables(JSON.stringify(secrets), "")).toEqual(variables);
  for (const none of ["", "{}", '{"db_password":"other"}'])
    expect(() => secretVariables(none, "do this")).toThrow(/no secret backup_password.*Set it: do this/);
});

test("the command line", () => {
  const defaults = { repository: undefined, snapshot: "latest", list: false, yes: false };
  expect(parseOptions(["backup", "db"])).toEqual({ verb: "backup", name: "db", ...defaults });
  expect(parseOptions(["restore", "db", "/b", "--snapshot", "65a626bc", "--yes"])).toEqual({
    ...{ verb: "restore", name: "db", repository: "/b", snapshot: "65a626bc", list: false, yes: true },
  });
  expect(parseOptions(["backup", "--help"])).toBe("help");
  for (const args of [
    ["backup"],
    ["backup", "a", "b", "c"],
    ["backup", "a", "--yes"],
    ["restore", "a", "--snapshot", "--x"],
  ])
    // prettier-ignore
    expect(() => parseOptions(args)).toThrow("Usage:");
});
