import { describe, expect, test } from "vitest";

import { parseHosts } from "./settings";

const one = { name: "node-1", address: "10.0.0.1", docker: "ssh://me@10.0.0.1" };
const two = { name: "node-2", address: "10.0.0.2", docker: "ssh://10.0.0.2:2222" };

describe("the list of hosts", () => {
  test("has all defaults filled in", () => {
    expect(parseHosts([one, { ...two, publicAddress: "two.example.com", platform: "linux/arm64" }])).toEqual([
      { ...one, publicAddress: "10.0.0.1", platform: "linux/amd64" },
      { ...two, publicAddress: "two.example.com", platform: "linux/arm64" },
    ]);
  });

  test.each([
    "unix:///run/docker.sock",
    "tcp://10.0.0.1:2376",
    "tcp://[fd00::1]:2376",
    "ssh://h",
    "ssh://a@h:22",
  ])("accepts %s", (docker) => {
    expect(parseHosts([{ ...one, docker }])[0]?.docker).toBe(docker);
  });

  test.each<[string, unknown, string]>([
    ["a value that is not a list", {}, "switchyard:hosts is {}"],
    ["a missing name", [{ ...one, name: undefined }], "switchyard:hosts[0].name is missing"],
    ["an invalid name", [{ ...one, name: "Node_1" }], "switchyard:hosts[0].name"],
    [
      "an address that is an option",
      [{ ...one, address: "-oProxyCommand=x" }],
      "switchyard:hosts[0].address",
    ],
    [
      "a host that is an option",
      [{ ...one, docker: "ssh://-oProxyCommand=x" }],
      "switchyard:hosts[0].docker",
    ],
    ["a user that is an option", [{ ...one, docker: "ssh://-oX@host" }], "switchyard:hosts[0].docker"],
    ["an SSH URL with a path", [{ ...one, docker: "ssh://h/x" }], "switchyard:hosts[0].docker"],
    ["another scheme", [{ ...one, docker: "http://h" }], "switchyard:hosts[0].docker"],
    ["an unknown key", [{ ...one, adress: "x" }], "switchyard:hosts[0].adress is not known"],
    [
      "a duplicate name",
      [one, { ...two, name: "node-1" }],
      "hosts[1].name is node-1, the same as hosts[0].name: give each machine its own",
    ],
    [
      "a duplicate address",
      [one, { ...two, address: "10.0.0.1" }],
      "hosts[1].address is 10.0.0.1, the same as hosts[0].address",
    ],
    [
      "a duplicate engine",
      [one, { ...two, docker: one.docker }],
      "hosts[1].docker is ssh://me@10.0.0.1, the same as hosts[0].docker",
    ],
  ])("rejects %s", (_, value, message) => {
    expect(() => parseHosts(value)).toThrow(message);
  });
});
