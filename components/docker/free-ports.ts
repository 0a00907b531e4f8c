import { connect as dial } from "node:net";
import * as pulumi from "@pulumi/pulumi";

/** What a {@link FreePorts} is made from. */
export interface FreePortsArgs {
  /** The ports that are going to be taken, by the configuration key that chooses each: `{ httpPort: 80 }`. */
  readonly ports: Readonly<Record<string, number>>;
  /** Addresses of this machine on which nothing may listen on them. */
  readonly addresses: readonly pulumi.Input<string>[];
}

interface FreePortsInputs {
  readonly ports: Readonly<Record<string, number>>;
  readonly addresses: readonly string[];
}

function listens(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host: address, port, timeout: 2000 });
    const done = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", done(true));
    socket.once("timeout", done(false));
    socket.once("error", done(false));
  });
}

async function refuseTaken({ ports, addresses }: FreePortsInputs, ours: readonly number[]): Promise<void> {
  for (const [key, port] of Object.entries(ports)) {
    if (ours.includes(port)) continue;
    for (const address of addresses) {
      if (!(await listens(address, port))) continue;
      throw new Error(
        `Port ${port} is taken: something listens on ${address}:${port}. Stop it (this shows it: ss -ltnp "sport = :${port}"), ` +
          `or choose another port: pulumi config set ${key} …`,
      );
    }
  }
}

export const freePortsProvider: pulumi.dynamic.ResourceProvider<FreePortsInputs, FreePortsInputs> = {
  async create(inputs) {
    await refuseTaken(inputs, []);
    return { id: "free", outs: inputs };
  },
  diff(_id, olds, news) {
    return Promise.resolve({ changes: JSON.stringify(olds.ports) !== JSON.stringify(news.ports) });
  },
  async update(_id, olds, news) {
    await refuseTaken(news, Object.values(olds.ports));
    return { outs: news };
  },
};

/**
 * The claim on ports of this machine: refuses, before anything is made, those on which somebody else listens. Without
 * it the first to notice is a container of the host's network, which fails where nobody looks.
 */
export class FreePorts extends pulumi.dynamic.Resource {
  constructor(name: string, args: FreePortsArgs, opts?: pulumi.CustomResourceOptions) {
    super(freePortsProvider, name, { ...args }, opts, "switchyard", "FreePorts");
  }
}
