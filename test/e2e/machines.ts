import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { baseImage, consulImage } from "./bases";
import { lines } from "./docker";
import { killAll } from "./processes";
import { scratch } from "./scratch";
import { outputOf, run } from "./stack";

// Several machines on one: each has its own network, host name, mounts, processes and Docker Engine. Killing its first
// process is like pulling the plug.

/** The bridge; network namespaces and links have the same name with a suffix. */
const bridge = "sw-e2e";
const subnet = "10.97.0";

/** A machine on the test's network. */
export class Machine {
  readonly address: string;
  /** The Docker URL of its engine. */
  readonly dockerHost: string;
  private readonly namespace: string;
  private readonly link: string;
  private readonly folder = scratch().path;
  private readonly configFile = join(this.folder, "daemon.json");
  private pid = 0;

  constructor(
    readonly name: string,
    number: number,
  ) {
    this.address = `${subnet}.${10 + number}`;
    this.namespace = `${bridge}-${name}`;
    this.link = `${bridge}-${number}`;
    this.dockerHost = `unix://${this.folder}/docker.sock`;
  }

  /** Connects the machine to the network and boots it. */
  async create(): Promise<void> {
    await outputOf("ip", "netns", "add", this.namespace);
    await outputOf(
      "ip",
      "link",
      "add",
      this.link,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      this.namespace,
    );
    await outputOf("ip", "link", "set", this.link, "master", bridge, "up");
    const inside = (...args: string[]) => outputOf("ip", "-n", this.namespace, ...args);
    await inside("addr", "add", `${this.address}/24`, "dev", "eth0");
    await inside("link", "set", "eth0", "up");
    await inside("link", "set", "lo", "up");
    await inside("route", "add", "default", "via", `${subnet}.1`);
    await this.start();
    await this.load(baseImage, consulImage);
  }

  /** Boots the machine with the current content of its disk. */
  async start(): Promise<void> {
    await this.connected(true);
    mkdirSync(join(this.folder, "data"), { recursive: true });
    // Like systemd, starts an engine that has ended again.
    const boot = `
      mount --make-rprivate / && mount -t tmpfs tmpfs /run && hostname ${this.name}
      while :; do
        dockerd --config-file ${this.configFile} --data-root ${this.folder}/data \
          -H unix:///run/docker.sock -H ${this.dockerHost} >>${this.folder}/dockerd.log 2>&1
      done`;
    if (!existsSync(this.configFile)) writeFileSync(this.configFile, "{}");
    const unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const child = spawn("nsenter", [`--net=/run/netns/${this.namespace}`, ...unshare, "sh", "-c", boot], {
      detached: true,
      stdio: "ignore",
    });
    this.pid = child.pid ?? 0;
    await this.engineAnswers();
  }

  private async engineAnswers(): Promise<void> {
    for (let attemptsLeft = 150; !(await this.answers()); attemptsLeft--) {
      if (attemptsLeft === 0)
        throw new Error(readFileSync(`${this.folder}/dockerd.log`, "utf8").slice(-2000));
      await sleep(200);
    }
  }

  /** Ends its engine, which starts again, as after `systemctl restart docker` or a failure. */
  async restartEngine(signal: "TERM" | "KILL"): Promise<void> {
    await this.signalEngine(signal, "while kill -0 $engine 2>/dev/null; do sleep 0.05; done");
    await this.engineAnswers();
  }

  /** Changes its engine's daemon.json and makes the engine read it. */
  async configureEngine(settings: Readonly<Record<string, unknown>>): Promise<void> {
    writeFileSync(this.configFile, JSON.stringify(settings));
    await this.signalEngine("HUP");
  }

  /** Its first process is the only child of the one that we started. */
  private async signalEngine(signal: string, afterwards = ":"): Promise<void> {
    const first = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").trim();
    const kill = `engine=$(cat /run/docker.pid); kill -${signal} $engine && ${afterwards}`;
    await outputOf("nsenter", "--target", first, "--mount", "--pid", "sh", "-c", kill);
  }

  private async answers(): Promise<boolean> {
    return (await run("docker", ["-H", this.dockerHost, "info"])).code === 0;
  }

  /** Shuts it down: its engine stops its containers first. */
  async shutDown(): Promise<void> {
    await this.signalEngine("TERM", "while kill -0 $engine 2>/dev/null; do sleep 0.05; done");
    await this.kill();
  }

  /** Puts an empty disk into the machine, which is off. */
  wipe(): void {
    rmSync(join(this.folder, "data"), { recursive: true });
  }

  /** Cuts the power. */
  async kill(): Promise<void> {
    // Or else its kernel, which goes on, would close its connections.
    await this.connected(false);
    process.kill(this.pid, "SIGKILL");
    while (existsSync(`/proc/${this.pid}`)) await sleep(20);
  }

  /** Unplugs the network cable, or plugs it in again. */
  async connected(on: boolean): Promise<void> {
    await outputOf("ip", "link", "set", this.link, on ? "up" : "down");
  }

  /** Runs a program in its network. */
  async inNetwork(...command: string[]): Promise<string> {
    return outputOf("nsenter", `--net=/run/netns/${this.namespace}`, ...command);
  }

  /** Gives its engine images of this machine's. */
  load(...images: string[]): Promise<void> {
    return pipe(["docker", "save", ...images], ["docker", "-H", this.dockerHost, "load", "-q"]);
  }

  /** Runs `docker` on its engine. */
  async docker(...args: string[]): Promise<string> {
    return outputOf("docker", "-H", this.dockerHost, ...args);
  }
}

const masquerade = ["POSTROUTING", "-s", `${subnet}.0/24`, "!", "-d", `${subnet}.0/24`, "-j", "MASQUERADE"];
const forwards = [
  ["FORWARD", "-i", bridge, "-j", "ACCEPT"],
  ["FORWARD", "-o", bridge, "-j", "ACCEPT"],
];

/** Boots machines on a separate network that reaches the outside through this machine. */
export async function bootMachines(machines: readonly Machine[]): Promise<void> {
  await outputOf("sysctl", "-qw", "net.ipv4.ip_forward=1");
  await outputOf("ip", "link", "add", bridge, "type", "bridge");
  await outputOf("ip", "addr", "add", `${subnet}.1/24`, "dev", bridge);
  await outputOf("ip", "link", "set", bridge, "up");
  await outputOf("iptables", "-t", "nat", "-A", ...masquerade);
  for (const rule of forwards) await outputOf("iptables", "-I", ...rule);
  await Promise.all(machines.map((machine) => machine.create()));
}

/** Removes all machines of the tests and their network, whoever made them, and returns what it removed. */
export async function removeMachines(): Promise<string[]> {
  if (process.getuid?.() !== 0) return []; // Then it has made none.
  const namespaces = ours(existsSync("/run/netns") ? readdirSync("/run/netns") : []);
  // Not from /sys, which may be that of another network namespace.
  const links = ours((await outputOf("ip", "-o", "link")).match(/(?<=^\d+: )[^:@]+/gm) ?? []);
  for (const namespace of namespaces) {
    // A machine's first process takes its containers with it.
    await killAll(async () => lines(await outputOf("ip", "netns", "pids", namespace)));
    await outputOf("ip", "netns", "del", namespace);
  }
  // The bridge goes last: as long as it exists, there may be rules for it.
  if (links.includes(bridge)) {
    await removeRule("-t", "nat", "-D", ...masquerade);
    for (const rule of forwards) await removeRule("-D", ...rule);
  }
  // A link goes with its namespace as well, a moment later.
  for (const link of links.reverse()) await run("ip", ["link", "del", link]);
  return [...namespaces, ...links];
}

const ours = (names: readonly string[]): string[] =>
  names.filter((name) => name === bridge || name.startsWith(`${bridge}-`)).sort();

/** Removes a rule, as often as it is there. */
async function removeRule(...rule: string[]): Promise<void> {
  while ((await run("iptables", rule)).code === 0);
}

/** Pipes the output of the first program into the second. */
function pipe([from = "", ...fromArgs]: string[], [to = "", ...toArgs]: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const source = spawn(from, fromArgs, { stdio: ["ignore", "pipe", "inherit"] });
    const target = spawn(to, toArgs, { stdio: [source.stdout, "ignore", "inherit"] });
    target.on("error", reject);
    target.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${to} ${toArgs.join(" ")} ended with ${code}`));
    });
  });
}
