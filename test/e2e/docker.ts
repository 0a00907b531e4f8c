import { run } from "./stack";

/** Runs `docker` and returns its trimmed output; throws with that output if the command fails. */
export async function docker(...args: string[]): Promise<string> {
  const { code, output } = await run("docker", args);
  if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${output}`);
  return output.trim();
}

const lines = (output: string): string[] => output.split("\n").filter((line) => line !== "");

/** IDs of the running containers that match Docker's filters. */
export async function containers(...filters: string[]): Promise<string[]> {
  const flags = filters.flatMap((filter) => ["--filter", filter]);
  return lines(await docker("ps", "-q", "--no-trunc", ...flags)).sort();
}

/** IDs of a Swarm service's running containers. */
export function tasks(service: string): Promise<string[]> {
  return containers(`label=com.docker.swarm.service.name=${service}`);
}

/** Everything a stack could leave behind: containers, networks, volumes, Swarm membership. */
export async function belongings(): Promise<Record<string, string[] | string>> {
  return {
    containers: lines(await docker("ps", "-aq", "--no-trunc")).sort(),
    networks: lines(await docker("network", "ls", "-q", "--no-trunc")).sort(),
    volumes: lines(await docker("volume", "ls", "-q")).sort(),
    swarm: await docker("info", "--format", "{{.Swarm.LocalNodeState}}"),
  };
}
