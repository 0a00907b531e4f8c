import { parseArgs } from "node:util";
import { messageOf, UserError } from "../../../lib/errors";
import { parseInteger, parseNetwork, show } from "../../../routing/grammar";

export interface Options {
  /** The addresses at which the stack's nodes reach each other. */
  readonly nodes: readonly string[];
  /** Networks that may see the statistics page, beside the nodes. */
  readonly admins: readonly string[];
  /** The node's address on Docker's default bridge. */
  readonly bridge: string;
  readonly statsPort: number;
  /** The Docker Engine's socket. */
  readonly socketPath: string;
}

export const usage = `Usage: firewall --nodes=ADDRESS,... [--admins=NETWORK,...] [--bridge=172.17.0.1] [--stats-port=1936]
       firewall clear

  clear   removes the rules, which otherwise stay when this program ends.
  DOCKER_HOST is the engine's socket, as in unix:///var/run/docker.sock.`;

/**
 * @throws UserError that names the option. nftables itself reads only what is an address here: it would look names up.
 */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options {
  const text = { type: "string" } as const;
  const flags = { nodes: text, admins: text, bridge: text, "stats-port": text };
  let given: Partial<Record<keyof typeof flags, string>>;
  try {
    given = parseArgs({ args: [...args], options: flags }).values;
  } catch (error) {
    throw new UserError(`${messageOf(error)}\n${usage}`);
  }
  const networks = (name: "nodes" | "admins"): string[] => {
    const values = (given[name] ?? "").split(",").filter((value) => value !== "");
    for (const value of values) {
      const network = parseNetwork(value);
      if (!network.ok) throw new UserError(`--${name}: ${show(value)} ${network.error}.`);
    }
    return values;
  };
  const nodes = networks("nodes");
  if (nodes.length === 0) throw new UserError(`--nodes is missing: list the nodes' addresses.\n${usage}`);
  const { bridge = "172.17.0.1" } = given;
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(bridge) || !parseNetwork(bridge).ok)
    throw new UserError(`--bridge: ${show(bridge)} is not an IPv4 address.`);
  const statsPort = parseInteger(given["stats-port"] ?? "1936", 1, 65_535);
  if (!statsPort.ok) throw new UserError(`--stats-port: ${statsPort.error}.`);
  const host = env["DOCKER_HOST"] || "unix:///var/run/docker.sock";
  if (!host.startsWith("unix://")) throw new UserError(`DOCKER_HOST: ${show(host)} is not a unix:// socket.`);
  return {
    nodes,
    admins: networks("admins"),
    bridge,
    statsPort: statsPort.value,
    socketPath: host.slice("unix://".length),
  };
}
