import { expect, it } from "vitest";
import { dockerEndpoint, isOwnAddress, listeners, ownAddress } from "./machine";

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
  const routes =
    "Local:\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 172.20.0.1\n        /32 host LOCAL\n" +
    "     |-- 172.20.255.255\n        /32 link BROADCAST\n";
  const own = (address: string) => isOwnAddress(address, all, routes);
  expect(["127.0.0.1", "172.17.0.1", "172.20.0.1"].filter(own)).toHaveLength(3);
  expect(["10.0.0.6", "10.0.0.0", "172.20.255.255"].filter(own)).toEqual([]);
});

it("reads who listens from the kernel's tables", () => {
  const header =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const rest = "00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0\n";
  const four =
    `   0: 00000000:1F90 00000000:0000 0A ${rest}` +
    `   1: 010011AC:1F91 00000000:0000 0A ${rest}` +
    `  12: 0100007F:1F91 00000000:0000 0A ${rest}` +
    `   3: 0100007F:1F92 0100007F:C350 01 ${rest}`;
  const six =
    `   0: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A ${rest}` +
    `   1: 00000000000000000000000001000000:1F94 00000000000000000000000000000000:0000 0A ${rest}` +
    `   2: 0000000000000000FFFF00000100007F:1F95 00000000000000000000000000000000:0000 0A ${rest}` +
    `   3: 0000DA00000000000000000002000000:1F96 00000000000000000000000000000000:0000 0A ${rest}`;
  expect([...(listeners([header + four, header + six]) ?? [])]).toEqual([
    [8080, [""]],
    [8081, ["172.17.0.1", "127.0.0.1"]],
    [8083, [""]],
    [8084, ["::1"]],
    [8085, ["127.0.0.1"]],
    [8086, ["da::2"]],
  ]);
  expect(listeners(["", ""])).toBeUndefined();
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
