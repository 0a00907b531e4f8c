import { describe, expect, it } from "vitest";
import { endpointOf } from "./address";
import { container, options } from "../fixtures";
import type { PortBinding } from "../types";

const own = options.address;
const at = (bound: readonly string[], given: Partial<typeof options> = {}) => {
  const bindings = bound.map((each): PortBinding => {
    const [, HostIp = "", HostPort = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(each) ?? [];
    return { HostIp, HostPort };
  });
  const web = container({ name: "web" });
  const port = { exposed: "80", protocol: "tcp", isHost: false, bindings };
  const found = endpointOf(web, port, { ...options, ...given }, web);
  return found.problem ?? `${found.address} ${found.port}`;
};

/** The reason why a port cannot be registered. */
const unreachable = (bound: string) =>
  `it is bound to ${bound}, which the load balancers of other nodes cannot reach; bind it to ${own} or to all addresses`;

describe("a port published on", () => {
  it.each<[string, readonly string[], string, string]>([
    ["all addresses", ["0.0.0.0:1", "[::]:1"], `${own} 1`, `${own} 1`],
    ["all addresses, as old engines say it", [":1"], `${own} 1`, `${own} 1`],
    ["all addresses, with two numbers", ["[::]:2", "0.0.0.0:1"], `${own} 1`, `${own} 1`],
    ["the node's address", [`${own}:1`], `${own} 1`, `${own} 1`],
    ["the bridge's address", ["172.17.0.1:1"], "172.17.0.1 1", unreachable("172.17.0.1:1")],
    ["the loopback", ["127.0.0.1:1"], "127.0.0.1 1", unreachable("127.0.0.1:1")],
    ["the IPv6 loopback", ["[::1]:1"], "::1 1", unreachable("[::1]:1")],
    ["an IPv6 address", ["[fd00::2]:1"], "fd00::2 1", unreachable("[fd00::2]:1")],
    // Another container may have the same port on the IPv4 addresses.
    ["all IPv6 addresses only", ["[::]:1"], "::1 1", unreachable("[::]:1")],
    ["the loopback and the node's address", ["127.0.0.1:1", `${own}:2`], `${own} 2`, `${own} 2`],
    ["both loopbacks", ["[::1]:2", "127.0.0.1:1"], "127.0.0.1 1", unreachable("127.0.0.1:1 and [::1]:2")],
  ])("%s", (_, bound, alone, amongOthers) => {
    expect(at(bound)).toBe(alone);
    expect(at(bound, { isOnlyNode: false })).toBe(amongOthers);
  });

  it("a link-local IPv6 address is unreachable", () => {
    expect(at(["[fe80::1]:1"])).toBe(unreachable("[fe80::1]:1"));
  });

  it("all addresses, on a node with an IPv6 address", () => {
    const address = "fd00::2";
    expect(at(["0.0.0.0:1", "[::]:1"], { address })).toBe("fd00::2 1");
    expect(at(["0.0.0.0:1"], { address })).toBe("127.0.0.1 1");
    expect(at(["[::]:1"], { address, isOnlyNode: false })).toBe("fd00::2 1");
  });
});
