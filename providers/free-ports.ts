import { connect as dial } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "./dynamic-resource";
import { api, connect, runBySsh } from "./client";

export interface FreePortsArgs {
  /** The ports that the stack will use, by configuration key: `{ httpPort: 80 }`. */
  readonly ports: Readonly<Record<string, number>>;
  /** The addresses on which the ports must be free. */
  readonly addresses: readonly pulumi.Input<string>[];
  /** Docker URL of the machine to check. For an `ssh://` URL the check runs there. Default: this machine. */
  readonly host?: pulumi.Input<string> | undefined;
  /** Options of `ssh`. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
}

interface FreePortsInputs {
  readonly ports: Readonly<Record<string, number>>;
  readonly addresses: readonly string[];
  readonly host?: string;
  readonly sshOpts?: readonly string[];
}

interface FreePortsState extends FreePortsInputs {
  /** ID of the Docker Engine, which identifies the machine even if its URL changes. */
  readonly engineId?: string;
}

/** How long to wait for a connection before the port counts as free. */
const CONNECT_TIMEOUT_MS = 2000;

function listens(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host: address, port, timeout: CONNECT_TIMEOUT_MS });
    const done = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", done(true));
    socket.once("timeout", done(false));
    socket.once("error", done(false));
  });
}

/** Every listener in the kernel's tables /proc/net/tcp and tcp6, as `address:port`. */
export function listenersIn(table: string): Set<string> {
  const found = new Set<string>();
  for (const [, address = "", port = ""] of table.matchAll(
    /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:0000 0A /gm,
  )) {
    // The last word of an IPv4 address, even if mapped to IPv6, holds its bytes in reverse order.
    const mapped = address.length === 8 || address.startsWith("0000000000000000FFFF0000");
    const bytes = address.slice(-8).match(/../g)?.reverse() ?? [];
    const text = mapped ? bytes.map((byte) => parseInt(byte, 16)).join(".") : address;
    found.add(`${/^0+$/.test(address) ? "0.0.0.0" : text}:${parseInt(port, 16)}`);
  }
  return found;
}

/** Finds listeners by reading the machine's tables over SSH, otherwise by connecting. */
async function prober({ host, sshOpts }: FreePortsInputs): Promise<typeof listens> {
  if (host?.startsWith("ssh://") !== true) return listens;
  const table = await runBySsh({ host, sshOpts }, ["cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true"]);
  const taken = listenersIn(table);
  return (address, port) => Promise.resolve(taken.has(`${address}:${port}`) || taken.has(`0.0.0.0:${port}`));
}

async function refuseTaken(inputs: FreePortsInputs, ours: readonly number[]): Promise<void> {
  const isTaken = await prober(inputs);
  const where = inputs.host?.startsWith("ssh://") === true ? ` at ${inputs.host}` : "";
  for (const [key, port] of Object.entries(inputs.ports)) {
    if (ours.includes(port)) continue;
    for (const address of inputs.addresses) {
      if (!(await isTaken(address, port))) continue;
      throw new Error(
        `Port ${port}${where} is taken: something listens on ${address}:${port}. Stop it (to see it: ss -ltnp "sport = :${port}"), ` +
          `or choose another port: pulumi config set ${key} …`,
      );
    }
  }
}

async function withEngineId(inputs: FreePortsInputs): Promise<FreePortsState> {
  if (inputs.host === undefined) return inputs;
  const docker = connect(inputs.host, { sshOpts: inputs.sshOpts });
  const { ID: engineId } = await api<{ ID: string }>(docker, "GET", "/info");
  return { ...inputs, engineId };
}

/** Compares by URL where an earlier version did not record the engine's ID. */
function isSameMachine(olds: FreePortsState, news: FreePortsState): boolean {
  if (olds.engineId !== undefined) return olds.engineId === news.engineId;
  return olds.host === undefined || olds.host === news.host;
}

export const freePortsProvider: pulumi.dynamic.ResourceProvider<FreePortsInputs, FreePortsState> = {
  async create(inputs) {
    await refuseTaken(inputs, []);
    return { id: "free", outs: await withEngineId(inputs) };
  },
  diff(_id, olds, news) {
    const claim = ({ ports, addresses, host }: FreePortsInputs) => JSON.stringify([ports, addresses, host]);
    return Promise.resolve({ changes: claim(olds) !== claim(news) });
  },
  async update(_id, olds, news) {
    const outs = await withEngineId(news);
    // On another machine, a listener on one of our ports is not ours.
    await refuseTaken(news, isSameMachine(olds, outs) ? Object.values(olds.ports) : []);
    return { outs };
  },
};

/**
 * Claims ports of a machine: if something else listens on one, `up` fails before it creates anything. Otherwise the conflict
 * would only show in the log of a container on the host's network.
 */
export class FreePorts extends DynamicResource {
  constructor(name: string, args: FreePortsArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "freePortsProvider" }, name, { ...args }, opts, "FreePorts");
  }
}
