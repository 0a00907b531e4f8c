import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { consulImage } from "../test/e2e/bases";
import { put } from "../test/e2e/consul";
import { docker, removeContainers } from "../test/e2e/docker";
import { get } from "../test/e2e/http";
import { buildImage } from "../test/e2e/images";
import { bootMachines, Machine } from "../test/e2e/machines";
import { outputOf, run } from "../test/e2e/stack";
import { adopt, files, image } from "./containers";
import { ports } from "./ports";
import { tags } from "./registry";
import { SlowLink } from "./slow-link";

// What the load balancers of `faults` stand between: Consul and Registrator on this machine, containers that Registrator
// registers, and a second machine with a Consul agent and an instance of its own.

/** This machine's address on the network of the second one. */
const here = "10.97.0.1";
const dataMebibytes = 48;
/** Where the second machine finds Consul. */
const serf = `${here}:${ports.consul + 2}`;

export class Site {
  readonly consul = "bn-t-consul";
  readonly registrator = "bn-t-registrator";
  readonly far = new Machine("far", 1);
  /** All load balancers and Registrator reach Consul through it. */
  private consulLink: SlowLink | undefined;
  private farLink: SlowLink | undefined;
  readonly data = join(files, "consul");
  private readonly originConfig = join(files, "fault-origin.cfg");
  private canaries = 0;

  /** Consul's address, through the link. */
  readonly address = `127.0.0.1:${ports.consulProxy}`;
  /** Consul's address without it. */
  readonly direct = `127.0.0.1:${ports.consul}`;

  async start(): Promise<void> {
    const config = [
      "defaults",
      "  mode http",
      "  timeout connect 5s",
      "  timeout client 120s",
      "  timeout server 5s",
      "frontend origin",
      "  bind :8080",
      '  http-request return status 200 content-type text/plain string "ok"',
      "",
    ];
    writeFileSync(this.originConfig, config.join("\n"));
    await bootMachines([this.far]);
    await this.startConsul();
    await this.startRegistrator();
    await this.startFar();
    await this.run("shop-1", "shop");
    await this.run("shop-2", "shop");
    await this.settled();
  }

  /** Consul on a small disk. It may have as many connections per client as it needs. */
  private async startConsul(): Promise<void> {
    mkdirSync(this.data, { recursive: true });
    await outputOf("mount", "-t", "tmpfs", "-o", `size=${dataMebibytes}m`, "tmpfs", this.data);
    const agent = [
      "agent",
      "-server",
      "-bootstrap-expect=1",
      "-data-dir=/data",
      "-node=here",
      "-log-level=err",
    ];
    const listens = [
      `-bind=${here}`,
      "-client=0.0.0.0",
      `-http-port=${ports.consul}`,
      `-dns-port=${ports.consul + 1}`,
      `-serf-lan-port=${ports.consul + 2}`,
      `-server-port=${ports.consul + 3}`,
      "-serf-wan-port=-1",
    ];
    const tuned = [
      "-hcl",
      "performance { raft_multiplier = 1 } limits { http_max_conns_per_client = 12000 }",
    ];
    await this.container(
      this.consul,
      ["-v", `${this.data}:/data`, "--user", "0", "--entrypoint", "consul"],
      [consulImage, ...agent, ...listens, ...tuned],
    );
    this.consulLink = await SlowLink.start(ports.consulProxy, { host: "127.0.0.1", port: ports.consul });
  }

  private async startRegistrator(): Promise<void> {
    const built = await buildImage("registrator", "switchyard/registrator:bench");
    const socket = ["-v", "/var/run/docker.sock:/var/run/docker.sock"];
    await this.container(this.registrator, socket, [built, `-ip=${here}`, `consul://${this.address}`]);
  }

  /** A Consul agent and an instance, which come back with the machine. */
  private async startFar(): Promise<void> {
    await this.far.load(await image());
    const own = ["run", "-d", "--network", "host", "--restart", "unless-stopped"];
    const origin = ["-v", `${this.originConfig}:/origin.cfg:ro`, "--entrypoint", "haproxy", await image()];
    await this.far.docker(...own, ...origin, "-f", "/origin.cfg");
    const join = `-retry-join=${serf}`;
    const agent = [
      "agent",
      "-data-dir=/data",
      `-bind=${this.far.address}`,
      "-client=0.0.0.0",
      "-node=far",
      join,
    ];
    await this.far.docker(
      ...own,
      "--name",
      "consul",
      "-v",
      "/data",
      "--user",
      "0",
      "--entrypoint",
      "consul",
      consulImage,
      ...agent,
      "-retry-interval=1s",
    );
    this.farLink = await SlowLink.start(ports.nodeProxy, { host: this.far.address, port: 8080 });
    for (let attemptsLeft = 150; ; attemptsLeft--) {
      const failure = await this.registerFar(0).then(() => undefined, String);
      if (failure === undefined) return;
      if (attemptsLeft === 0)
        throw new Error(`the second machine's Consul agent does not answer: ${failure}`);
      await sleep(200);
    }
  }

  /** An emptied Consul does not know the second machine, whose agent would look for it only twice a minute. */
  async rejoin(): Promise<void> {
    const join = () => run("docker", ["-H", this.far.dockerHost, "exec", "consul", "consul", "join", serf]);
    while ((await join()).code !== 0) await sleep(200);
  }

  delayConsul(delayMs: number): void {
    if (this.consulLink !== undefined) this.consulLink.delayMs = delayMs;
  }

  /** Drops one packet in twenty between the machines, or no longer. */
  async losePackets(on = true): Promise<void> {
    const random = ["-m", "statistic", "--mode", "random", "--probability", "0.05", "-j", "DROP"];
    const rules = [
      ["INPUT", "-s", this.far.address, ...random],
      ["OUTPUT", "-d", this.far.address, ...random],
    ];
    for (const rule of rules)
      if (on) await outputOf("iptables", "-I", ...rule);
      else await run("iptables", ["-D", ...rule]);
  }

  /** Registers the instance of the second machine; with a delay, behind a slow link. */
  async registerFar(delayMs: number): Promise<void> {
    if (this.farLink !== undefined) this.farLink.delayMs = delayMs;
    const [address, port] = delayMs === 0 ? [this.far.address, 8080] : [here, ports.nodeProxy];
    await put(`${this.far.address}:8500`, "agent/service/register", {
      ID: "shop-far",
      Name: "shop",
      Address: address,
      Port: port,
      Tags: tags({ name: "shop" }),
      Check: { HTTP: `http://${address}:${port}/`, Interval: "2s", Timeout: "1s", Status: "passing" },
    });
  }

  /** Starts a container that Registrator registers as a service. */
  async run(name: string, service: string): Promise<string> {
    const full = `bn-t-${name}`;
    adopt(full);
    await removeContainers(full);
    const settings = {
      SERVICE_NAME: service,
      SERVICE_TAGS: tags({ name: service }).join(","),
      // fabio takes a service without a check for one that fails.
      SERVICE_CHECK_HTTP: "/",
      SERVICE_CHECK_INTERVAL: "2s",
      SERVICE_CHECK_INITIAL_STATUS: "passing",
    };
    const labels = Object.entries(settings).flatMap(([key, value]) => ["-l", `${key}=${value}`]);
    const mount = ["-v", `${this.originConfig}:/origin.cfg:ro`, "--entrypoint", "haproxy"];
    // The image's health check is about a load balancer.
    const published = ["-p", "8080", "--no-healthcheck"];
    await docker(
      "run",
      "-d",
      "--name",
      full,
      ...published,
      ...labels,
      ...mount,
      await image(),
      "-f",
      "/origin.cfg",
    );
    return full;
  }

  /** A new service, which shows whether changes still arrive. Returns its name. */
  canary(): string {
    return `canary-${this.canaries++}`;
  }

  /** Waits until Consul has all three instances of the service under load, and all of them pass. */
  async settled(): Promise<void> {
    const url = `http://${this.direct}/v1/health/service/shop?passing`;
    for (let attemptsLeft = 300; ; attemptsLeft--) {
      const { status, body } = await get(url, { timeout: 1_000 });
      if (status === 200 && (JSON.parse(body) as unknown[]).length === 3) return;
      if (attemptsLeft === 0) throw new Error(`Consul has not got all instances back: ${status} ${body}`);
      await sleep(200);
    }
  }

  private async container(name: string, flags: readonly string[], args: readonly string[]): Promise<void> {
    adopt(name);
    await removeContainers(name);
    const own = [
      "--name",
      name,
      "--network",
      "host",
      "--restart",
      "unless-stopped",
      "-l",
      "SERVICE_IGNORE=true",
    ];
    await docker("run", "-d", ...own, ...flags, ...args);
  }

  async stop(): Promise<void> {
    this.consulLink?.stop();
    this.farLink?.stop();
    await this.losePackets(false);
    await removeContainers(this.consul);
    await run("umount", ["-l", this.data]);
    rmSync(this.originConfig, { force: true });
  }
}
