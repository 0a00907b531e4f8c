import { expect, test } from "vitest";
import { parseOptions, parseSocketOptions } from "./options";

test("have defaults, and take what Consul's and Docker's own tools take from the environment", () => {
  expect(parseOptions(["--node=n1"], {})).toEqual({
    node: "n1",
    consul: { host: "127.0.0.1", port: 8500 },
    dry: false,
    jobsOnly: false,
    admin: { host: "127.0.0.1", port: 8405 },
  });
  const env = {
    NODE_NAME: "n2",
    DOCKER_HOST: "unix:///run/filtered/docker.sock",
    CONSUL_HTTP_TOKEN_FILE: "/secrets/token",
  };
  expect(parseOptions(["--consul=10.0.0.1:8501", "--swarm=/run/s.sock", "--dry"], env)).toEqual({
    node: "n2",
    consul: { host: "10.0.0.1", port: 8501 },
    tokenFile: "/secrets/token",
    dockerSocket: "/run/filtered/docker.sock",
    swarmSocket: "/run/s.sock",
    dry: true,
    jobsOnly: false,
    admin: { host: "127.0.0.1", port: 8405 },
  });
});

test("a node that is no manager may change limits", () => {
  expect(parseOptions(["--node=n1", "--limits=/run/s.sock"], {})).toMatchObject({
    limitsSocket: "/run/s.sock",
  });
});

test.each([
  [["--node=n", "--limits=run"], '--limits: "run" is not an absolute path'],
  [[], "--node is missing"],
  [["--node=../x"], '--node: "../x" is not the name'],
  [["--node=n", "--consul=10.0.0.1"], "--consul"],
  [["--node=n", "--admin=:99999"], "--admin"],
  [["--node=n", "--swarm=run"], '--swarm: "run" is not an absolute path'],
  [["--node=n", "--fast"], "Usage"],
])("%j is refused", (args, message) => {
  expect(() => parseOptions(args, {})).toThrow(message);
});

test("an engine that is not at a socket is refused", () => {
  expect(() => parseOptions(["--node=n"], { DOCKER_HOST: "tcp://10.0.0.1:2375" })).toThrow("DOCKER_HOST");
});

test("the narrow socket needs a place", () => {
  expect(parseSocketOptions(["--listen=/run/a.sock"])).toEqual({
    listen: "/run/a.sock",
    engine: "/var/run/docker.sock",
  });
  expect(() => parseSocketOptions([])).toThrow("--listen is missing");
});
