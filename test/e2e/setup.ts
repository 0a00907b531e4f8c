import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { baseImage, consulImage, containerMark } from "./bases";
import { docker, lines, removeContainers, removeStackVolumes } from "./docker";
import { removeMachines } from "./machines";
import { killAll, processesWith } from "./processes";
import { removeScratch, scratch } from "./scratch";
import { run, testStacks } from "./stack";

/** In the environment of every process that a run starts, down to the last `docker`. */
const variable = { name: "SWITCHYARD_E2E_CHILD", value: "1" };

/**
 * Prepares a run of the end-to-end tests or of a benchmark: makes sure that it is the only one on this machine, removes
 * what an interrupted one left, and makes the base images. Returns the function that ends the run.
 */
export default async function setup(): Promise<() => void> {
  const end = await takeLock();
  const removed = [
    // First those that would go on making things, such as `script/up`.
    ...(await killAll(() => processesWith(`${variable.name}=${variable.value}`))).map(
      (pid) => `process ${pid}`,
    ),
    ...(await removeMachines()),
    ...(await removeStacks()),
    ...removeScratch(),
  ];
  for (const stack of testStacks) stack.forget();
  if (removed.length > 0) console.log(`Removed what an interrupted run had left: ${removed.join(", ")}`);
  await makeBaseImages();
  process.env[variable.name] = variable.value;
  return end;
}

/** The kernel releases an abstract socket when its process ends, however it ends. */
function takeLock(): Promise<() => void> {
  const lock = createServer().unref();
  return new Promise((resolve, reject) => {
    lock.on("error", (error: NodeJS.ErrnoException) => {
      const taken = "Another run of the end-to-end tests or of a benchmark is in progress on this machine.";
      reject(error.code === "EADDRINUSE" ? new Error(`${taken} Wait until it ends.`) : error);
    });
    lock.listen("\0switchyard-e2e", () => {
      resolve(() => lock.close());
    });
  });
}

interface SwarmInfo {
  /** Only a manager knows it. */
  readonly Cluster?: { readonly Spec: { readonly Labels?: Readonly<Record<string, string>> } } | null;
}

/** Removes all containers of the tests, and what belongs to the stacks that they deployed. Returns what it removed. */
export async function removeStacks(): Promise<string[]> {
  const owners = testStacks.map(({ owner }) => owner);
  const { Cluster: swarm } = JSON.parse(await docker("info", "--format", "{{json .Swarm}}")) as SwarmInfo;
  const services: string[] = [];
  for (const owner of swarm ? owners : []) {
    const filter = `label=switchyard.owner=${owner}`;
    services.push(...lines(await docker("service", "ls", "--filter", filter, "--format", "{{.Name}}")));
  }
  if (services.length > 0) await docker("service", "rm", ...services);

  const { "switchyard.owner": owner = "", "switchyard.gateway-network": gateway } = swarm?.Spec.Labels ?? {};
  // Somebody who has services in it meanwhile keeps it.
  const leave = owners.includes(owner) && (await docker("service", "ls", "-q")) === "";
  if (leave) await docker("swarm", "leave", "--force");
  for (const owner of owners) await clearFirewall(owner);
  const containers = await removeMarkedContainers();
  const networks = lines(await docker("network", "ls", "-q", "--filter", `label=${containerMark}`));
  for (const network of networks) await docker("network", "rm", network);
  if (leave) await removeNetworks({ gateway: gateway === "made" });

  return [...services, ...(leave ? ["the Swarm"] : []), ...containers, ...(await removeStackVolumes())];
}

/** Takes the rules of a stack's firewall out of the kernel, where they outlive its container. */
async function clearFirewall(owner: string): Promise<void> {
  const filters = ["--filter", "name=^firewall$", "--filter", `label=switchyard.owner=${owner}`];
  for (const id of lines(await docker("ps", "-q", ...filters))) {
    const image = await docker("inspect", "-f", "{{.Config.Image}}", id);
    // It would put them back.
    await docker("stop", id);
    await docker("run", "--rm", "--network=host", "--cap-drop=ALL", "--cap-add=NET_ADMIN", image, "clear");
  }
}

async function removeMarkedContainers(): Promise<string[]> {
  const format = ["--filter", `label=${containerMark}`, "--format", "{{.Names}}"];
  const removed = new Set<string>();
  for (let attemptsLeft = 200; ; attemptsLeft--) {
    const containers = lines(await docker("ps", "-a", ...format));
    if (containers.length === 0) return [...removed];
    if (attemptsLeft === 0) throw new Error(`containers that cannot be removed: ${containers.join(", ")}`);
    for (const name of containers) removed.add(name);
    await removeContainers(...containers);
    await sleep(100);
  }
}

/**
 * Waits until Docker has removed the Swarm's own networks, which takes a moment after the engine has left, and removes the
 * gateway network if Docker made it with the Swarm.
 */
async function removeNetworks({ gateway }: { readonly gateway: boolean }): Promise<void> {
  for (let attemptsLeft = 200; ; attemptsLeft--) {
    if (gateway) await run("docker", ["network", "rm", "docker_gwbridge"]);
    const own = gateway ? ["ingress", "docker_gwbridge"] : ["ingress"];
    const names = lines(await docker("network", "ls", "--format", "{{.Name}}"));
    const left = own.filter((name) => names.includes(name));
    if (left.length === 0) return;
    if (attemptsLeft === 0) throw new Error(`networks that do not go with the Swarm: ${left.join(", ")}`);
    await sleep(100);
  }
}

/** Makes the base images from those that `script/bootstrap` found or built: the same with a label. */
async function makeBaseImages(): Promise<void> {
  const names: Readonly<Record<string, string>> = { baseImage, consulImage };
  const context = scratch();
  for (const line of lines(readFileSync(".switchyard/bases", "utf8"))) {
    const [key = "", original = ""] = line.split(" ");
    writeFileSync(join(context.path, "Dockerfile"), `FROM ${original}\nLABEL ${containerMark}=true\n`);
    await docker("build", "-q", "-t", names[key] ?? "", context.path);
  }
  context.remove();
}
