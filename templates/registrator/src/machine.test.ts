import { expect, it } from "vitest";
import { dockerEndpoint, isOwnAddress, ownAddress } from "./machine";

const address = (ip: string, internal = false) => [
  { address: ip, family: "IPv4" as const, internal, netmask: "", mac: "", cidr: null },
];
const all = {
  lo: address("127.0.0.1", true),
  docker0: address("172.17.0.1"),
  eth0: address("10.0.0.5"),
  eth1: address("10.1.0.5"),
};

it("prefers the address on the interface of the default route", () => {
  expect(ownAddress(all, "Iface\tDestination\neth1\t00000000\t0100A8C0")).toBe("10.1.0.5");
  expect(ownAddress(all, "")).toBe("10.0.0.5");
  expect(ownAddress({ lo: all.lo }, "")).toBeUndefined();
});

it("knows the machine's own addresses", () => {
  expect(["127.0.0.1", "172.17.0.1", "10.0.0.6"].map((each) => isOwnAddress(each, all))).toEqual([
    true,
    true,
    false,
  ]);
});

it("finds the Docker endpoint", () => {
  expect(dockerEndpoint(undefined, (path) => path === "/tmp/docker.sock")).toEqual({
    socketPath: "/tmp/docker.sock",
  });
  expect(dockerEndpoint("tcp://h:2376")).toEqual({ host: "h", port: 2376 });
  expect(dockerEndpoint("unix:///x")).toEqual({ socketPath: "/x" });
  expect(() => dockerEndpoint("ssh://h")).toThrow("DOCKER_HOST=ssh://h");
  expect(() => dockerEndpoint(undefined, () => false)).toThrow("mount it");
});
