import * as http from "node:http";
import type { AddressInfo } from "node:net";

import { consulImage } from "./bases";
import { put } from "./consul";
import { docker, removeContainers } from "./docker";
import { get, until } from "./http";
import { buildImage } from "./images";
import { afterwards } from "./tear-down";

// The load balancer's image on its own, with a separate Consul and services inside the test process: the setup of a user
// who runs only the image. `tearDown` stops what was started.

let built: Promise<string> | undefined;

/** Builds the image from the working tree, once per test file. */
export function balancerImage(): Promise<string> {
  built ??= buildImage("haproxy", "switchyard/haproxy:e2e-alone");
  return built;
}

export interface ConsulOptions {
  /** Prefix of container names. */
  readonly name: string;
  /** First of five free ports: HTTP, DNS, serf, server, gRPC. */
  readonly port: number;
  /** More arguments for `consul agent`. */
  readonly args?: readonly string[];
}

/** An in-memory Consul server on the host's network that contains only what a test writes. */
export class ConsulAlone {
  readonly address: string;

  private constructor(
    readonly container: string,
    port: number,
  ) {
    this.address = `127.0.0.1:${port}`;
  }

  static async start({ name, port, args = [] }: ConsulOptions): Promise<ConsulAlone> {
    const container = `${name}-consul`;
    const ports = [
      `-http-port=${port}`,
      `-dns-port=${port + 1}`,
      `-serf-lan-port=${port + 2}`,
      `-server-port=${port + 3}`,
      `-grpc-port=${port + 4}`,
    ];
    const agent = ["-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-serf-wan-port=-1", `-node=${name}`];
    const own = ["--name", container, "--network", "host", "-l", "SERVICE_IGNORE=true", "--entrypoint", "sh"];
    // From 1.14 on, each has port 8503 as well. Earlier versions reject the option.
    const start = `
      if consul agent -help | grep -q -e -grpc-tls-port; then set -- "$@" -grpc-tls-port=-1; fi
      exec consul agent "$@"`;
    await docker("run", "-d", ...own, consulImage, "-c", start, "consul", ...agent, ...ports, ...args);
    const consul = new ConsulAlone(container, port);
    afterwards(() => consul.stop());
    await until(
      `http://${consul.address}/v1/status/leader`,
      ({ status, body }) => status === 200 && body.length > 4,
    );
    return consul;
  }

  async put(path: string, body: unknown): Promise<void> {
    await put(this.address, path, body);
  }

  /** Registers an instance of a service on a port of this machine. */
  register(name: string, port: number, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    return this.put("agent/service/register", {
      ID: `${name}:${port}`,
      Name: name,
      Address: "127.0.0.1",
      Port: port,
      Tags: ["rest"],
      ...more,
    });
  }

  deregister(name: string, port: number): Promise<void> {
    return this.put(`agent/service/deregister/${encodeURIComponent(`${name}:${port}`)}`, "");
  }

  async stop(): Promise<void> {
    await removeContainers(this.container);
  }
}

export interface BalancerOptions {
  /** Prefix of container names. */
  readonly name: string;
  /** First of three free ports: traffic, statistics, admin. */
  readonly port: number;
  readonly consul: string;
  /** More options of the image. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** More arguments for `docker run`, such as mounts. */
  readonly docker?: readonly string[];
  /** A folder for its state, which it may share with another one. Default: in memory. */
  readonly state?: string;
}

/** What `docker run` gets before and after the image, as the README says: read-only, no root, one capability. */
export function balancerArguments(
  port: number,
  consul: string,
  state = ["--tmpfs", "/var/lib/switchyard:uid=10001,mode=700"],
): { docker: string[]; image: string[] } {
  const caps = ["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--read-only"];
  return {
    docker: [...caps, ...state, "-e", `ADMIN_PORT=${port + 2}`],
    image: [
      `--consul=${consul}`,
      `--http-port=${port}`,
      `--stats-port=${port + 1}`,
      `--admin=127.0.0.1:${port + 2}`,
    ],
  };
}

/** A running load balancer. */
export class Balancer {
  readonly url: string;
  readonly admin: string;

  private constructor(
    readonly container: string,
    port: number,
  ) {
    this.url = `http://127.0.0.1:${port}`;
    this.admin = `http://127.0.0.1:${port + 2}`;
  }

  static async start({
    name,
    port,
    consul,
    args = [],
    env = {},
    docker: more = [],
    state,
  }: BalancerOptions): Promise<Balancer> {
    const container = `${name}-balancer`;
    const own = ["--name", container, "--network", "host", "-l", "SERVICE_IGNORE=true"];
    const variables = Object.entries(env).flatMap(([key, value]) => ["-e", `${key}=${value}`]);
    const folder = state === undefined ? undefined : ["-v", `${state}:/var/lib/switchyard`];
    const readme = balancerArguments(port, consul, folder);
    const image = await balancerImage();
    await docker(
      "run",
      "-d",
      ...own,
      ...readme.docker,
      ...variables,
      ...more,
      image,
      ...readme.image,
      ...args,
    );
    const balancer = new Balancer(container, port);
    afterwards(() => balancer.stop());
    await until(`${balancer.admin}/ready`, ({ status }) => status === 200);
    return balancer;
  }

  async routes<T>(): Promise<T> {
    return JSON.parse((await get(`${this.admin}/routes`)).body) as T;
  }

  /** The number of HAProxy reloads, for all reasons. */
  async reloads(): Promise<number> {
    const { body } = await get(`${this.admin}/metrics`);
    return [...body.matchAll(/^switchyard_reloads_total\{.*\} (\d+)$/gm)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
  }

  /** The value of an HAProxy metric, such as `frontend_http_requests_total{proxy="http"}`; 0 if it does not exist. */
  async counter(name: string): Promise<number> {
    const { body } = await get(`${this.admin}/metrics`);
    const line = body.split("\n").find((each) => each.startsWith(`haproxy_${name} `));
    return Number(line?.split(" ").at(-1) ?? 0);
  }

  logs(): Promise<string> {
    return docker("logs", this.container);
  }

  async stop(): Promise<void> {
    await removeContainers(this.container);
  }
}

/** A service inside the test process: answers with its name, or with `listener`. */
export class Instance {
  private constructor(
    private readonly server: http.Server,
    readonly port: number,
  ) {}

  static start(name: string, listener?: http.RequestListener): Promise<Instance> {
    // Node's own limit is 16 kB.
    const options = { maxHeaderSize: 128 * 1024 };
    const server = http.createServer(options, listener ?? ((_, response) => response.end(name)));
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => {
        const instance = new Instance(server, (server.address() as AddressInfo).port);
        afterwards(() => {
          instance.stop();
        });
        resolve(instance);
      });
    });
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
