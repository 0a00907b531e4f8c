/** The rule that only HTTP and HTTPS are open to the world. Each target reads its own cloud's firewall rules. Pure. */
import { fields, type FirewallReader, type Opening } from "../nodes/target";
import { targetNames, targetOf } from "../nodes/targets";
import { container, type Rule } from "./types";

const allowedPorts: readonly number[] = [80, 443];
const world = ["0.0.0.0/0"];

/** Docker opens published ports regardless of the node's own firewall. */
const publishedPorts: FirewallReader = {
  type: container,
  inputs: ["ports", "publishAllPorts"],
  read: ({ ports, publishAllPorts }) => [
    ...(publishAllPorts === true ? [{ protocol: "tcp", from: 0, to: 65_535, sources: world }] : []),
    ...fields(ports).flatMap(({ external, ip, protocol }): Opening[] => {
      if (typeof ip === "string" && !["", "0.0.0.0", "::"].includes(ip)) return [];
      const port = Number(external ?? 0);
      return [{ protocol: typeof protocol === "string" ? protocol : "tcp", from: port, to: port, sources: world }]; // prettier-ignore
    }),
  ],
};

/** One rule per type of resource that opens ports. */
export const openings: readonly Rule[] = [
  publishedPorts,
  ...targetNames.flatMap((name) => targetOf(name).firewalls),
].map(({ type, inputs: names, read }) => ({
  name: "nothing open to the world but 80 and 443",
  types: [type],
  inputs: names,
  check: ({ inputs }) => {
    const wrong = read(inputs).find(isTooOpen);
    if (wrong === undefined) return undefined;
    const { from, to, protocol } = wrong;
    const ports = from === to ? `port ${from}` : `ports ${from} to ${to}`;
    return `opens ${protocol} ${ports} to the world, but only 80 and 443 may be: limit it to the networks that need it (adminCidrs for SSH and administration)`;
  },
}));

const isTooOpen = ({ protocol, from, to, sources }: Opening): boolean =>
  sources.some(isWorld) && !(protocol === "tcp" && from === to && allowedPorts.includes(from));

/** Treats very large networks as the world: otherwise two rules, each for half of the world, would pass. */
function isWorld(network: string): boolean {
  const [address = "", bits] = network.split("/");
  const length = Number(bits ?? (address.includes(":") ? 128 : 32));
  return length < (address.includes(":") ? 16 : 8);
}
