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
  expect(networksHere(interfaces)).toEqual([
    "127.0.0.0/8",
    "::1",
    "127.0.0.1",
    "192.168.1.5",
    "fe80::1",
    "172.17.0.1/16",
    "172.18.0.1/16",
  ]);
});

test("who comes through a trusted peer is outside, unless the peer says who it is", () => {
  const trusted = ["10.0.0.0/8", "192.0.2.7"];
  expect(outside({ dir: "/d" })).toBe("!{ src -f /d/inside.list }");
  expect(outside({ dir: "/d", trusted })).toBe("!{ src -f /d/inside.list } || { src 10.0.0.0/8 192.0.2.7 }");
  expect(outside({ dir: "/d", trusted, proxyProtocol: true })).toBe("!{ src -f /d/inside.list }");
});
