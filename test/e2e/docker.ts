import { networkInterfaces } from "node:os";

import { outputOf, run, stack } from "./stack";
import { afterwards } from "./tear-down";

/** Addresses of this machine: on Docker's bridge, and on its own network. */
export const bridgeAddress = "172.17.0.1";
export const hostAddress =
  Object.entries(networkInterfaces())
    .filter(([name]) => !/^(lo|docker|br-|veth)/.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .find(({ family }) => family === "IPv4")?.address ?? "";

/** Runs `docker` and returns its trimmed output; throws with that output if the command fails. */
export const docker = (...args: string[]): Promise<string> => outputOf("docker", ...args);

export const lines = (output: string): string[] => output.split("\n").filter((line) => line !== "");

/** Removes containers with their anonymous volumes. Those that are already gone, or about to be, do not matter. */
export async function removeContainers(...names: string[]): Promise<void> {
  const { code, output } = await run("docker", ["rm", "-f", "-v", ...names]);
  const errors = lines(output).filter((line) => /^Error/.test(line));
  if (code !== 0 && !errors.every((line) => /No such container|already in progress/.test(line)))
    throw new Error(`docker rm ${names.join(" ")}: ${output}`);
}

/** IDs of the running containers that match Docker's filters. */
export async function containers(...filters: string[]): Promise<string[]> {
  const flags = filters.flatMap((filter) => ["--filter", filter]);
  return lines(await docker("ps", "-q", "--no-trunc", ...flags)).sort();
}

/** IDs of a Swarm service's running containers. */
export function tasks(service: string): Promise<string[]> {
  return containers(`label=com.docker.swarm.service.name=${service}`);
}

/** The ports on the node at which Docker publishes a container's, IPv4 first. */
export async function publishedPorts(container: string): Promise<number[]> {
  return lines(await docker("port", container)).map((line) => Number(line.split(":").at(-1)));
}

/** Everything a stack could leave behind: containers, networks, volumes, Swarm membership, rules of a firewall. */
export async function belongings(): Promise<Record<string, string[] | string>> {
  return {
    containers: lines(await docker("ps", "-aq", "--no-trunc")).sort(),
    networks: lines(await docker("network", "ls", "-q", "--no-trunc")).sort(),
    volumes: lines(await docker("volume", "ls", "-q")).sort(),
    swarm: await docker("info", "--format", "{{.Swarm.LocalNodeState}}"),
    // Only root may look.
    firewall: process.getuid?.() === 0 ? lines(await outputOf("nft", "list", "tables")) : [],
  };
}

/** Every stack's containers with secrets. */
const secretive = ["rest", "consul", "registrator"];
/** What every stack calls its containers and volumes. A volume does not tell whose stack made it. */
export const stackContainers = [...secretive, "docker-socket-proxy", "firewall"];
const stackVolumes = [
  "rest-state",
  "consul-data",
  "docker-socket-proxy",
  ...secretive.map((container) => `${container}-secrets`),
];

/** A volume that says: the stack on this engine is the tests'. */
const claim = "switchyard-e2e-stack";

/**
 * Claims the Docker Engine for a stack of the tests, so that a later run can tell what an interrupted one left.
 *
 * @throws Error if there is a stack already, or the data of one
 */
export async function claimEngine(): Promise<void> {
  const containers = lines(await docker("ps", "-a", "--format", "{{.Names}}"));
  const volumes = lines(await docker("volume", "ls", "-q"));
  const taken = [
    ...stackContainers.filter((name) => containers.includes(name)),
    ...stackVolumes.filter((name) => volumes.includes(name)),
  ];
  if (taken.length > 0) {
    throw new Error(
      `A stack is already on this Docker Engine (${taken.join(", ")}); ` +
        "remove it with script/down and run the tests again.",
    );
  }
  await docker("volume", "create", claim);
}

/** Gives the engine back, once the stack is down. */
async function releaseEngine(): Promise<void> {
  await docker("volume", "rm", claim);
}

/** Claims the engine for a test file, which removes its stack at the end and gives the engine back. */
export async function claimEngineUntilRemoved(remove: () => Promise<unknown>): Promise<void> {
  await claimEngine();
  afterwards(async () => {
    await remove();
    await releaseEngine();
  });
}

/** Removes the volumes of the tests' stack from an engine that is still claimed, and returns them. */
export async function removeStackVolumes(): Promise<string[]> {
  const volumes = lines(await docker("volume", "ls", "-q"));
  if (!volumes.includes(claim)) return [];
  const removed: string[] = [];
  const data = lines(await docker("volume", "ls", "-q", "--filter", `label=switchyard.owner=${stack.owner}`));
  for (const name of [...data, ...stackVolumes.filter((each) => volumes.includes(each))]) {
    // Docker refuses if a container uses it: one that somebody else has made meanwhile.
    if ((await run("docker", ["volume", "rm", name])).code === 0) removed.push(name);
  }
  await releaseEngine();
  return removed;
}
