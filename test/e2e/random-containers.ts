/**
 * The random lives of many containers, as rounds of Docker commands: the same seed gives the same commands. Containers take
 * over ports that others have just left.
 */

import { randomNumbers } from "./random-numbers";

/** One `docker` command. */
export type Command = readonly string[];
/** Commands that run one after the other, beside the other lanes of a round. */
export type Lane = readonly Command[];

/** A service that a container has, where it listens, and the port of the load balancer if it is a TCP service. */
export interface Endpoint {
  readonly service: string;
  readonly port: number;
  readonly tcpPort?: number;
}

export interface Container {
  /** What it answers beside the name of the service. Its name changes, this does not. */
  readonly id: string;
  name: string;
  readonly kind: Kind;
  readonly endpoints: readonly Endpoint[];
  /** The container whose network it shares. */
  readonly owner?: Container;
  /** The addresses and ports of the machine that it has while it runs in a network. */
  readonly bindings: readonly Binding[];
  state: "running" | "paused" | "stopped";
  networks: readonly string[];
}

interface Binding {
  readonly address: string;
  readonly port: number;
}

export const kinds = [
  "not published",
  "all with -P",
  "any port",
  "all addresses",
  "host address",
  "bridge address",
  "loopback",
  "IPv6 loopback",
  "several ports",
  "tcp and udp",
  "tcp service",
  "host network",
  "host network, other port",
  "network owner",
  "network member",
  "ignored",
  "not asking",
] as const;
export type Kind = (typeof kinds)[number];

export interface Setting {
  readonly seed: number;
  /** How many containers there are over time. */
  readonly count: number;
  /** Prefix of the containers' names. */
  readonly prefix: string;
  readonly image: string;
  /** The same image with `EXPOSE 8080`: Docker allows no `--expose` with the network of another container. */
  readonly exposing: string;
  /** A network beside Docker's own. */
  readonly network: string;
  /** Addresses of the machine: on its network, and on Docker's bridge. */
  readonly outside: string;
  readonly bridge: string;
  /** First of 1,000 ports. */
  readonly port: number;
}

/** Few ports, so that containers take over those of others all the time. */
const contestedPorts = 15;
const mostContainers = 35;
const lanes = 3;
const web = 8080;
const all = "";

export class RandomContainers {
  readonly containers: Container[] = [];
  /** Where every service is asked, including those that are gone. */
  readonly services = new Map<string, { readonly tcpPort?: number }>();
  /** Of all containers that there have been, by what they answer. */
  readonly kinds = new Map<string, Kind>();
  created = 0;
  private readonly random: () => number;
  /** Containers that a lane of this round deals with. */
  private busy = new Set<Container>();
  private ownPorts = 0;
  /** Kinds that no container has been of. */
  private readonly missing = new Set<Kind>(kinds);
  /** What containers leave in this round, which other lanes cannot count on yet. */
  private left: Binding[] = [];

  constructor(private readonly setting: Setting) {
    this.random = randomNumbers(setting.seed);
  }

  isOver(): boolean {
    return this.created >= this.setting.count;
  }

  round(): Lane[] {
    this.busy = new Set();
    this.left = [];
    if (this.random() < 0.03) return this.stopMany();
    const found: Lane[] = [];
    for (let attempt = 0; found.length < lanes && attempt < 50; attempt++) {
      const lane = this.lane();
      if (lane !== undefined) found.push(lane);
    }
    return found;
  }

  /** Undefined if there is nothing to do it to. */
  private lane(): Lane | undefined {
    if (this.containers.length > mostContainers) return this.remove();
    const choice = this.random() * 100;
    if (choice < 30) return this.create();
    if (choice < 42) return this.replace();
    if (choice < 49) return this.stop();
    if (choice < 75) return this.start();
    if (choice < 80) return this.restart();
    if (choice < 84) return this.rename();
    if (choice < 89) return this.disconnect();
    if (choice < 96) return this.connect();
    return this.pause();
  }

  private create(wanted?: Binding): Lane | undefined {
    if (this.isOver()) return undefined;
    // Each kind once, as soon as that is possible.
    const found = this.draw([...this.missing], wanted) ?? this.draw(kinds, wanted);
    if (found === undefined) return undefined;
    const { container, flags } = found;
    const { kind } = container;
    this.missing.delete(kind);
    this.kinds.set(container.id, kind);
    this.created++;
    this.containers.push(container);
    this.take(container);
    for (const { service, tcpPort } of container.endpoints)
      this.services.set(service, tcpPort === undefined ? {} : { tcpPort });
    const { image, exposing } = this.setting;
    const answers = Object.fromEntries(container.endpoints.map(({ service, port }) => [port, service]));
    const own = ["--name", container.name, "--init", "--no-healthcheck", "--entrypoint", "node"];
    const variables = ["-e", `ANSWERS=${JSON.stringify(answers)}`, "-e", `CONTAINER=${container.id}`];
    return [
      [
        "run",
        "-d",
        ...own,
        ...variables,
        ...flags,
        kind === "network member" ? exposing : image,
        "-e",
        program,
      ],
    ];
  }

  private draw(
    among: readonly Kind[],
    wanted?: Binding,
  ): { container: Container; flags: string[] } | undefined {
    const kind = this.pick(among);
    return kind && this.container(kind, wanted);
  }

  private container(kind: Kind, wanted?: Binding): { container: Container; flags: string[] } | undefined {
    const number = this.created + 1;
    const id = `c${number}`;
    const name = `s${number}`;
    const { outside, bridge } = this.setting;
    const rest = (service: string) => ["-e", `SERVICE_${web}_NAME=${service}`, "-e", "SERVICE_TAGS=rest"];
    const made = (
      flags: readonly string[],
      endpoints: readonly Endpoint[],
      { bindings = [], owner, networks = ["bridge"] }: Partial<Container> = {},
    ) => {
      const shared = owner === undefined ? {} : { owner };
      const own = { id, name: `${this.setting.prefix}-${id}`, kind, state: "running" as const };
      return { container: { ...own, endpoints, bindings, networks, ...shared }, flags: [...flags] };
    };
    const bound = (address: string, more: readonly string[] = [], endpoints?: readonly Endpoint[]) => {
      const binding = this.binding(address, wanted);
      if (binding === undefined) return undefined;
      const publish = ["-p", `${hostOf(binding)}${binding.port}:${web}`];
      const service = this.random() < 0.2 ? this.known() : name;
      const flags = endpoints === undefined ? rest(service) : [];
      const found = endpoints ?? [{ service, port: web }];
      return made([...publish, ...flags, ...more], found, { bindings: [binding] });
    };
    switch (kind) {
      case "not published":
        return made([...rest(name), "--expose", String(web)], [{ service: name, port: web }]);
      case "all with -P":
        return made([...rest(name), "--expose", String(web), "-P"], [{ service: name, port: web }]);
      case "any port":
        return made([...rest(name), "-p", String(web)], [{ service: name, port: web }]);
      case "all addresses":
        return bound(all);
      case "host address":
        return bound(outside);
      case "bridge address":
        return bound(bridge);
      case "loopback":
        return bound("127.0.0.1");
      case "IPv6 loopback":
        return bound("::1");
      case "several ports": {
        const second = { service: `${name}-b`, port: web + 1 };
        const more = ["-p", String(second.port), "-e", `SERVICE_${second.port}_NAME=${second.service}`];
        return bound(all, [...rest(name), ...more], [{ service: name, port: web }, second]);
      }
      case "tcp and udp": {
        const binding = this.binding(all, wanted);
        if (binding === undefined) return undefined;
        const publish = ["-p", `${binding.port}:${web}/tcp`, "-p", `${binding.port}:${web}/udp`];
        return made([...publish, ...rest(name)], [{ service: name, port: web }], { bindings: [binding] });
      }
      case "tcp service": {
        const tcpPort = this.ownPort();
        const own = [
          "-e",
          `SERVICE_NAME=${name}`,
          "-e",
          "SERVICE_TAGS=tcp",
          "-e",
          `SERVICE_TCP_PORT=${tcpPort}`,
        ];
        return made(["-p", String(web), ...own], [{ service: name, port: web, tcpPort }]);
      }
      case "host network":
      case "host network, other port": {
        const isThere = kind === "host network";
        const binding = isThere ? this.binding(all, wanted) : this.anyBinding();
        if (binding === undefined) return undefined;
        const { port } = binding;
        const own = ["-e", `SERVICE_${port}_NAME=${name}`, "-e", "SERVICE_TAGS=rest"];
        const endpoint = { service: name, port: isThere ? port : this.ownPort() };
        return made(["--network", "host", "--expose", String(port), ...own], [endpoint], {
          bindings: isThere ? [binding] : [],
          networks: ["host"],
        });
      }
      case "network owner": {
        const port = web + 1;
        const own = ["-e", `SERVICE_${port}_NAME=${name}`, "-e", `SERVICE_${web}_IGNORE=true`];
        return bound(all, ["-p", String(port), ...own, "-e", "SERVICE_TAGS=rest"], [{ service: name, port }]);
      }
      case "network member": {
        const owner = this.pick(
          this.free(({ kind: other, state }) => other === "network owner" && state === "running").filter(
            (each) => !this.containers.some((other) => other.owner === each),
          ),
        );
        if (owner === undefined) return undefined;
        return made(["--network", `container:${owner.name}`, ...rest(name)], [{ service: name, port: web }], {
          owner,
          networks: ["container"],
        });
      }
      case "ignored":
        return bound(all, ["-e", "SERVICE_IGNORE=true"], [{ service: nobody, port: web }]);
      case "not asking":
        return bound(all, [], [{ service: nobody, port: web }]);
    }
  }

  /** The name of a service that a published container has already, for a second instance of it. */
  private known(): string {
    const found = this.containers.filter(({ kind }) => instanced.includes(kind));
    return this.pick(found)?.endpoints[0]?.service ?? `s${this.created + 1}`;
  }

  /** Another container takes the port of one that ends. */
  private replace(): Lane | undefined {
    const victim = this.pick(this.free(({ bindings, state }) => bindings.length > 0 && state === "running"));
    if (victim === undefined || this.isOver()) return undefined;
    const [binding] = victim.bindings;
    this.take(victim);
    const { left } = this;
    this.left = [];
    const ending = this.random() < 0.5 ? this.leave(victim) : this.end(victim);
    this.left = left;
    const next = this.create(binding);
    this.left.push(...victim.bindings);
    return [ending, ...(next ?? [])];
  }

  private remove(): Lane | undefined {
    const free = this.free();
    const stopped = free.filter(({ state }) => state === "stopped");
    const container = this.pick(stopped.length > 0 && this.random() < 0.7 ? stopped : free);
    return container && [this.leave(container)];
  }

  private leave(container: Container): Command {
    this.take(container);
    this.containers.splice(this.containers.indexOf(container), 1);
    container.state = "stopped";
    this.left.push(...container.bindings);
    return ["rm", "-f", "-v", container.name];
  }

  private stop(): Lane | undefined {
    const container = this.pick(this.free(({ state }) => state !== "stopped"));
    return container && [this.end(container)];
  }

  private end(container: Container): Command {
    this.take(container);
    const isPaused = container.state === "paused";
    container.state = "stopped";
    this.left.push(...container.bindings);
    return this.random() < 0.5 && !isPaused ? ["kill", container.name] : ["stop", "-t", "1", container.name];
  }

  private start(): Lane | undefined {
    const container = this.pick(
      this.free((each) => each.state === "stopped" && this.canRun(each) && !isLost(each)),
    );
    if (container === undefined) return this.unpause();
    this.take(container);
    container.state = "running";
    return [["start", container.name]];
  }

  private unpause(): Lane | undefined {
    const container = this.pick(this.free(({ state }) => state === "paused"));
    if (container === undefined) return undefined;
    this.take(container);
    container.state = "running";
    return [["unpause", container.name]];
  }

  private restart(): Lane | undefined {
    const container = this.pick(this.free((each) => each.state === "running" && !isLost(each)));
    if (container === undefined) return undefined;
    this.take(container);
    return [["restart", "-t", "1", container.name]];
  }

  private rename(): Lane | undefined {
    const container = this.pick(this.free());
    if (container === undefined) return undefined;
    this.take(container);
    const before = container.name;
    container.name = `${this.setting.prefix}-${container.id}-${Math.floor(this.random() * 1e6)}`;
    return [["rename", before, container.name]];
  }

  private disconnect(): Lane | undefined {
    const container = this.pick(
      this.free(({ networks, state }) => isMovable(networks) && networks.length > 0 && state === "running"),
    );
    const network = container && this.pick(container.networks);
    if (container === undefined || network === undefined) return undefined;
    this.take(container);
    container.networks = container.networks.filter((each) => each !== network);
    this.left.push(...container.bindings);
    return [["network", "disconnect", network, container.name]];
  }

  private connect(): Lane | undefined {
    const both = ["bridge", this.setting.network];
    const container = this.pick(
      this.free(
        (each) =>
          isMovable(each.networks) &&
          each.networks.length < both.length &&
          each.state === "running" &&
          this.canRun(each),
      ),
    );
    const network = container && this.pick(both.filter((each) => !container.networks.includes(each)));
    if (container === undefined || network === undefined) return undefined;
    this.take(container);
    container.networks = [...container.networks, network];
    return [["network", "connect", network, container.name]];
  }

  private pause(): Lane | undefined {
    const container = this.pick(this.free(({ state }) => state === "running"));
    if (container === undefined) return undefined;
    this.take(container);
    container.state = "paused";
    return [["pause", container.name]];
  }

  /** Half of all at once, whose ports the next round gives to others. */
  private stopMany(): Lane[] {
    const chosen = this.containers.filter(({ state }) => state === "running" && this.random() < 0.5);
    for (const container of chosen) container.state = "stopped";
    return chosen.length === 0 ? [] : [[["stop", "-t", "1", ...chosen.map(({ name }) => name)]]];
  }

  private take(container: Container): void {
    this.busy.add(container);
  }

  /** Containers that no lane of this round deals with, nor with the owners or members of their networks. */
  private free(filter: (container: Container) => boolean = () => true): Container[] {
    return this.containers.filter((each) => {
      const related = this.containers.filter(({ owner }) => owner === each);
      return ![each, each.owner, ...related].some((other) => other && this.busy.has(other)) && filter(each);
    });
  }

  /** A free port on the address: the wanted one, if there is one. */
  private binding(address: string, wanted?: Binding): Binding | undefined {
    const ports = wanted
      ? [wanted.port]
      : Array.from({ length: contestedPorts }, (_, at) => this.setting.port + 100 + at);
    return this.pick(ports.map((port) => ({ address, port })).filter((each) => this.isFree(each)));
  }

  /** A port that no other container ever has. */
  private ownPort(): number {
    return this.setting.port + 200 + this.ownPorts++;
  }

  private anyBinding(): Binding {
    return { address: all, port: this.setting.port + 100 + Math.floor(this.random() * contestedPorts) };
  }

  private isFree(binding: Binding, except?: Container): boolean {
    const held = this.containers
      .filter((each) => each !== except && holdsPorts(each))
      .flatMap(({ bindings }) => bindings);
    return ![...held, ...this.left].some((other) => isClash(binding, other));
  }

  /** Whether nobody else has its ports. */
  private canRun(container: Container): boolean {
    return container.bindings.every((binding) => this.isFree(binding, container));
  }

  private pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.random() * items.length)];
  }
}

/** The service in the answers of a container that has none. */
export const nobody = "nobody";

const instanced: readonly Kind[] = ["all addresses", "host address", "bridge address", "loopback"];

const program =
  "for(const [port,service] of Object.entries(JSON.parse(process.env.ANSWERS)))require('http')" +
  ".createServer((q,r)=>r.end(service+' '+process.env.CONTAINER)).listen(Number(port))";

const holdsPorts = ({ state, networks }: Container): boolean => state !== "stopped" && networks.length > 0;

/** A member of a network whose owner does not run cannot be started. */
const isLost = ({ owner }: Container): boolean => owner !== undefined && owner.state !== "running";

const isMovable = (networks: readonly string[]): boolean =>
  !networks.some((each) => each === "host" || each === "container");

const isClash = (a: Binding, b: Binding): boolean =>
  a.port === b.port && (a.address === b.address || a.address === all || b.address === all);

const hostOf = ({ address }: Binding): string =>
  address === all ? "" : `${address.includes(":") ? `[${address}]` : address}:`;
