/** Who is inside: the nodes of the stack and their containers. Pure. */
import type { NetworkInterfaceInfo } from "node:os";
import type { RenderOptions } from "./types";

/** The file with their addresses and networks, one a line. */
export const insideFile = (dir: string): string => `${dir}/inside.list`;

/** Bridges of Docker. A container talks to the load balancer of its node from its own address. */
const dockerBridge = /^(docker|br-)/;

/**
 * The networks of Docker's bridges by /proc/net/route, which knows them before a container uses them, unlike a list of interfaces.
 * Addresses are in the order of bytes of the machine, which is little-endian wherever Docker runs.
 */
function bridgeNetworks(routes: string): string[] {
  return routes.split("\n").flatMap((line) => {
    const [name = "", to = "", , , , , , mask = ""] = line.split("\t").map((field) => field.trim());
    if (!dockerBridge.test(name) || !/^[0-9A-F]{8}$/.test(to) || !/^[0-9A-F]{8}$/.test(mask)) return [];
    const bytes = [...Buffer.from(to, "hex")].reverse().join(".");
    const bits = [...Buffer.from(mask, "hex")].reduce(
      (sum, byte) => sum + byte.toString(2).replaceAll("0", "").length,
      0,
    );
    return bits === 0 ? [] : [`${bytes}/${bits}`];
  });
}

/** The addresses of this machine, and the networks of its containers. */
export function networksHere(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
  routes: string,
): string[] {
  const found = Object.entries(interfaces).flatMap(([name, infos = []]) =>
    infos.flatMap(({ address, cidr }) => (cidr !== null && dockerBridge.test(name) ? [cidr] : [address])),
  );
  return ["127.0.0.0/8", "::1", ...found, ...bridgeNetworks(routes)];
}

/**
 * A trusted peer speaks for clients elsewhere. With the PROXY protocol, the source is the client that it names.
 *
 * @returns the condition that the client is outside
 */
export function outside({
  dir,
  trusted = [],
  proxyProtocol = false,
}: Pick<RenderOptions, "dir" | "trusted" | "proxyProtocol">): string {
  const isOutside = `!{ src -f ${insideFile(dir)} }`;
  return trusted.length === 0 || proxyProtocol ? isOutside : `${isOutside} || { src ${trusted.join(" ")} }`;
}
