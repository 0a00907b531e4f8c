import { expect, test } from "vitest";
import { networksHere, outside } from "./inside";

const info = (address: string, prefix: number) => ({ address, cidr: `${address}/${prefix}` }) as never;

test("the machine's own addresses are inside, and the networks of its containers", () => {
  const interfaces = {
    lo: [info("127.0.0.1", 8)],
    eth0: [info("192.168.1.5", 24), info("fe80::1", 64)],
    docker0: [info("172.17.0.1", 16)],
    "br-3fa1": [info("172.18.0.1", 16)],
  };
  // Without a container, Docker's bridge has no carrier, and is not among the interfaces.
  const routes = [
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
    "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
    "br-4bc2\t000013AC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0",
  ].join("\n");
  expect(networksHere(interfaces, routes)).toEqual([
    "127.0.0.0/8",
    "::1",
    "127.0.0.1",
    "192.168.1.5",
    "fe80::1",
    "172.17.0.1/16",
    "172.18.0.1/16",
    "172.17.0.0/16",
    "172.19.0.0/20",
  ]);
});

test("who comes through a trusted peer is outside, unless the peer says who it is", () => {
  const trusted = ["10.0.0.0/8", "192.0.2.7"];
  expect(outside({ dir: "/d" })).toBe("!{ src -f /d/inside.list }");
  expect(outside({ dir: "/d", trusted })).toBe("!{ src -f /d/inside.list } || { src 10.0.0.0/8 192.0.2.7 }");
  expect(outside({ dir: "/d", trusted, proxyProtocol: true })).toBe("!{ src -f /d/inside.list }");
});
