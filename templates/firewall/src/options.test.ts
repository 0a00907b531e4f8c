import { expect, it } from "vitest";
import { parseOptions } from "./options";

it("reads addresses and networks, with defaults for the rest", () => {
  expect(parseOptions(["--nodes=10.0.0.11,fd00::11", "--admins=203.0.113.0/24"], {})).toEqual({
    nodes: ["10.0.0.11", "fd00::11"],
    admins: ["203.0.113.0/24"],
    bridge: "172.17.0.1",
    statsPort: 1936,
    socketPath: "/var/run/docker.sock",
  });
  const env = { DOCKER_HOST: "unix:///run/filtered/docker.sock" };
  expect(parseOptions(["--nodes=10.0.0.11"], env).socketPath).toBe("/run/filtered/docker.sock");
});

const nodes = "--nodes=10.0.0.11";
it.each([
  [["--nodes=10.0.0.11 }\nflush ruleset"], /--nodes: .* neither an address nor a network/],
  [["--nodes=localhost"], /--nodes: "localhost"/],
  [["--nodes="], /--nodes is missing/],
  [[nodes, "--admins=10.0.0.0/33"], /--admins: "10.0.0.0\/33"/],
  [[nodes, "--bridge=fd00::1"], /--bridge: .* is not an IPv4 address/],
  [[nodes, "--bridge=999.0.0.1"], /--bridge/],
  [[nodes, "--stats-port=0"], /--stats-port/],
  [[nodes, "--unknown"], /unknown.*\nUsage/s],
])("refuses %j", (args, message) => {
  expect(() => parseOptions(args, {})).toThrow(message);
});

it("refuses an engine that is not at a socket", () => {
  expect(() => parseOptions([nodes], { DOCKER_HOST: "tcp://10.0.0.1:2375" })).toThrow(/DOCKER_HOST/);
});
