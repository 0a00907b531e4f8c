import fc from "fast-check";
import { expect, it } from "vitest";
import { instancesIn, none } from "./instances";

const task = (more: object) => ({ Labels: { "com.docker.swarm.service.name": "hello-v1" }, ...more });
const port = (PublicPort: unknown, IP: unknown = "0.0.0.0") => ({
  IP,
  PrivatePort: 8080,
  PublicPort,
  Type: "tcp",
});
const inNetwork = (IPAddress: unknown) => ({ NetworkSettings: { Networks: { bridge: { IPAddress } } } });

it("finds the ports that Docker chose for instances, and their addresses, in order and once", () => {
  const list = [
    task({ Ports: [port(32770), port(32770)], ...inNetwork("172.17.0.5") }),
    task({ Ports: [port(32769)], ...inNetwork("172.17.0.4") }),
  ];
  expect(instancesIn(list)).toEqual({
    ports: { ipv4: [32769, 32770], ipv6: [32769, 32770] },
    addresses: ["172.17.0.4", "172.17.0.5"],
  });
});

it("keeps the families apart, because a port of one may be somebody else's in the other", () => {
  const list = [task({ Ports: [port(32773), port(32774, "::")] }), task({ Ports: [port(32775)] })];
  // The second container is of an engine that lists one port for both.
  expect(instancesIn(list).ports).toEqual({ ipv4: [32773, 32775], ipv6: [32774, 32775] });
});

it("leaves out containers by hand, and ports that somebody chose", () => {
  const byHand = { Labels: {}, Ports: [port(32771)], ...inNetwork("172.17.0.6") };
  expect(instancesIn([byHand, task({ Ports: [port(5432), port(undefined)] })])).toEqual(none);
});

it("leaves out whatever is no port and no address", () => {
  const hostile = ["1.2.3.4 }", "fd00::1", "", 7, null].map((address) => task(inNetwork(address)));
  const ports = task({ Ports: ["x", null, port("32768"), port(70_000), port(40_000.5)] });
  const nowhere = task({ Ports: [port(32768, "x"), port(32768, null), port(32768, 7)] });
  expect(instancesIn([...hostile, ports, nowhere])).toEqual(none);
  fc.assert(
    fc.property(fc.anything(), (anything) => {
      const { ports, addresses } = instancesIn([task({ Ports: anything, NetworkSettings: anything })]);
      return [...ports.ipv4, ...ports.ipv6, ...addresses].length === 0;
    }),
  );
});
