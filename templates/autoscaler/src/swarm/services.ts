/** Reads Docker's answers about services and tasks. Pure. */
import { isMapping } from "../../../../lib/values";
import { readLabels, type Labels } from "../../../../routing/scaling/labels";
import { mostCores } from "../../../../routing/scaling/resources";
import { roomsIn, type SwarmTask, type Task } from "../../../../routing/scaling/room";
import { mapping, registrationOf } from "./registration";
import type { SwarmService } from "./types";

const prefix = "switchyard.";

/** The labels of ours that ask for something to be scaled, and that of the stack to which a service belongs. */
const listed = /^switchyard\.(?:(?:replicas|memory|cpus)(?:\.|$)|owner$)/;

type Json = Readonly<Record<string, unknown>>;

const count = (value: unknown): number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : 0;
const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** The labels that begin with `switchyard.`. */
export const labelled = (labels: unknown): Labels =>
  Object.fromEntries(
    Object.entries(mapping(labels)).filter(
      (entry): entry is [string, string] => entry[0].startsWith(prefix) && typeof entry[1] === "string",
    ),
  );

/** The service's own labels that begin with `switchyard.`. */
export const labelsOf = (service: Json): Labels => labelled(mapping(service["Spec"])["Labels"]);

/** The services that ask to be scaled and those of the stack, in order of their names, without their tasks. */
export function servicesIn(answer: unknown): SwarmService[] {
  return (Array.isArray(answer) ? answer : [])
    .filter(isMapping)
    .filter((service) => Object.keys(labelsOf(service)).some((label) => listed.test(label)))
    .map(serviceOf)
    .sort((a, b) => (a.swarmName < b.swarmName ? -1 : 1));
}

function serviceOf(service: Json): SwarmService {
  const spec = mapping(service["Spec"]);
  const replicated = mapping(spec["Mode"])["Replicated"];
  const { registration, problem: clash } = registrationOf(spec);
  const problem = isMapping(replicated)
    ? clash
    : "does not have replicas: only replicated services are scaled";
  const { NanoCPUs, MemoryBytes } = mapping(mapping(mapping(spec["TaskTemplate"])["Resources"])["Limits"]);
  const [nanoCores, memoryBytes] = [count(NanoCPUs), count(MemoryBytes)];
  const update = text(mapping(service["UpdateStatus"])["State"]);
  return {
    id: text(service["ID"]),
    version: count(mapping(service["Version"])["Index"]),
    swarmName: text(spec["Name"]),
    labels: labelsOf(service),
    registration,
    ...(problem !== undefined && { problem }),
    // Docker leaves out a number of 0 in some answers.
    replicas: count(mapping(replicated)["Replicas"]),
    running: count(mapping(service["ServiceStatus"])["RunningTasks"]),
    updating: update === "updating" || update === "rollback_started",
    ...(nanoCores > 0 && { cores: nanoCores / 1e9 }),
    ...(memoryBytes > 0 && { memoryBytes }),
    tasks: [],
  };
}

export function hasAutomaticCpus({ labels }: SwarmService): boolean {
  const scaling = readLabels(labels);
  return scaling.ok && scaling.value.cpus !== undefined;
}

/** Whether a service's tasks are of interest: Docker's list of all tasks of all services is long. */
export function needsTasks({ labels, replicas, running }: SwarmService): boolean {
  const scaling = readLabels(labels);
  // Without a range, only the number of tasks that run counts.
  const range = scaling.ok ? scaling.value.replicas : undefined;
  return range !== undefined && (running !== replicas || range.targets.processor !== undefined);
}

/** The services with their tasks. */
export function withTasks(services: readonly SwarmService[], tasks: readonly Task[]): SwarmService[] {
  const byService = new Map<string, SwarmTask[]>();
  for (const { service, id, state, noRoom } of tasks) {
    const found = byService.get(service) ?? [];
    byService.set(service, found);
    found.push({ id, state, ...(noRoom !== undefined && { noRoom }) });
  }
  return services.map((service) => ({ ...service, tasks: byService.get(service.id) ?? [] }));
}

/** The cores of the smallest node in Docker's `GET /nodes`; as many as any may have if it tells of none. */
export const leastCores = (nodes: unknown): number =>
  Math.min(
    mostCores,
    ...roomsIn(nodes)
      .map(({ nanoCores }) => nanoCores / 1e9)
      .filter((cores) => cores > 0),
  );
