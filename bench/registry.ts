import { ConsulAlone } from "../test/e2e/balancer";

import { adopt } from "./containers";
import { ports } from "./ports";

// Consul with many services, registered in a way that every contender understands.

const perNode = 100;
/** Two operations each, plus the nodes: Consul accepts at most 64 operations in a transaction. */
const perTransaction = 31;

export interface Registration {
  /** Also its path. Contains no slash, because consul-template accepts none in a service's name. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly node: string;
}

/** Each instance has its own loopback address, all served by one listener. */
export const addressOf = (index: number): string => `127.1.${Math.floor(index / 250)}.${(index % 250) + 1}`;

/** Services number `from` to `to`, a hundred on each node. */
export function fillers(from: number, to: number): Registration[] {
  return Array.from({ length: to - from }, (_, offset) => {
    const index = from + offset;
    const node = `node-${Math.floor(index / perNode)}`;
    return { name: `fill-s${index}`, address: addressOf(index), port: ports.origin, node };
  });
}

/** Tags for every contender: `rest` for ours, `urlprefix-` for fabio, labels for Traefik. */
export function tags({ name }: Pick<Registration, "name">): string[] {
  return [
    "rest",
    `urlprefix-/${name} strip=/${name}`,
    "traefik.enable=true",
    `traefik.http.routers.${name}.rule=PathPrefix(\`/${name}\`)`,
    `traefik.http.routers.${name}.middlewares=${name}`,
    `traefik.http.middlewares.${name}.stripprefix.prefixes=/${name}`,
  ];
}

const idOf = ({ name, address, port }: Registration): string => `${name}:${address}:${port}`;

export class Registry {
  private constructor(private readonly consul: ConsulAlone) {}

  /** `name` is the prefix of the container's name, `port` the first of five ports. */
  static async start(name = "bn-t", port: number = ports.consul): Promise<Registry> {
    adopt(`${name}-consul`);
    // consul-template keeps one connection per service, far more than the 200 that Consul allows a client by default.
    const limits = ["-hcl", "limits { http_max_conns_per_client = 12000 }", "-log-level=err"];
    const consul = await ConsulAlone.start({ name, port, args: limits });
    return new Registry(consul);
  }

  get address(): string {
    return this.consul.address;
  }

  /** Registers a service, its instance and its passing check in one write. */
  register(registration: Registration): Promise<void> {
    const { node } = registration;
    const check = checkOf(registration);
    const service = serviceOf(registration);
    return this.consul.put("catalog/register", {
      Node: node,
      Address: "127.0.0.1",
      Service: service,
      Check: check,
    });
  }

  /** Deregisters the service and its check in one write. */
  deregister(registration: Registration): Promise<void> {
    const { node } = registration;
    return this.consul.put("catalog/deregister", { Node: node, ServiceID: idOf(registration) });
  }

  /** Registers many services in few transactions. */
  async registerAll(registrations: readonly Registration[]): Promise<void> {
    for (let from = 0; from < registrations.length; from += perTransaction) {
      const some = registrations.slice(from, from + perTransaction);
      const nodes = [...new Set(some.map(({ node }) => node))];
      await this.consul.put("txn", [
        ...nodes.map((node) => ({ Node: { Verb: "set", Node: { Node: node, Address: "127.0.0.1" } } })),
        ...some.map((each) => ({ Service: { Verb: "set", Node: each.node, Service: serviceOf(each) } })),
        ...some.map((each) => ({ Check: { Verb: "set", Check: checkOf(each) } })),
      ]);
    }
  }

  stop(): Promise<void> {
    return this.consul.stop();
  }
}

// The transaction endpoint reads `Service`, the catalog endpoint `ServiceName`, for the same thing.
const serviceOf = (registration: Registration) => ({
  ID: idOf(registration),
  Service: registration.name,
  Tags: tags(registration),
  Address: registration.address,
  Port: registration.port,
});

const checkOf = (registration: Registration) => ({
  Node: registration.node,
  CheckID: `service:${idOf(registration)}`,
  Name: "passing",
  Status: "passing",
  ServiceID: idOf(registration),
  ServiceName: registration.name,
});
