/**
 * The second change that the narrow socket makes to a service: labels with the limits chosen for it, which restart no task, and on
 * demand its rollout with a limit of memory. Pure.
 */
import { isMapping, parseJson } from "../../../../lib/values";
import { isJob } from "../../../../routing/jobs/docker";
import { readLabels } from "../../../../routing/scaling/labels";
import { writeChosen, type ChosenLimits } from "../../../../routing/scaling/limits";
import type { AutoLimit } from "../../../../routing/scaling/resources";
import { isCount, refuse, unchanged, type Respecified } from "./rescale";
import { mapping } from "./registration";
import { labelsOf } from "./services";
import type { Relimit } from "./types";

/** Reads limits; undefined if they are anything but bytes, cores, or both, with a number above 0 each. */
export function readLimits(value: unknown): ChosenLimits | undefined {
  if (!isMapping(value)) return undefined;
  const { memoryBytes, cores, ...others } = value;
  if (Object.keys(others).length > 0 || (memoryBytes === undefined && cores === undefined)) return undefined;
  if (memoryBytes !== undefined && !(isCount(memoryBytes) && memoryBytes > 0)) return undefined;
  if (cores !== undefined && !(typeof cores === "number" && cores > 0 && cores < 1e6)) return undefined;
  return { ...(memoryBytes !== undefined && { memoryBytes }), ...(cores !== undefined && { cores }) };
}

/** Reads the body of a change; undefined if it is anything but a version, limits, and perhaps a rollout. */
export function readRelimit(body: string): Relimit | undefined {
  const value = parseJson(body);
  if (!isMapping(value)) return undefined;
  const { version, rollout, ...rest } = value;
  const limits = readLimits(rest);
  if (!isCount(version) || limits === undefined) return undefined;
  if (rollout === undefined) return { version, ...limits };
  return rollout === true && limits.memoryBytes !== undefined ? { version, ...limits, rollout } : undefined;
}

/** @param service as Docker answers `GET /services/ID` */
export function relimit(service: unknown, { version, rollout, ...limits }: Relimit): Respecified {
  const found = unchanged(service, version);
  if (!found.ok) return found;
  const own = labelsOf({ Spec: found.spec });
  if (rollout === true && isJob(own)) return refuse(403, "the service is a job, which a rollout would start");
  const problem = problemOf(limits, own);
  if (problem !== undefined) return refuse(403, problem);
  const labels = isMapping(found.spec["Labels"]) ? found.spec["Labels"] : {};
  const spec = { ...found.spec, Labels: { ...labels, ...writeChosen(limits) } };
  return { ok: true, spec: rollout === true ? withMemory(spec, limits.memoryBytes) : spec };
}

function withMemory(
  spec: Readonly<Record<string, unknown>>,
  bytes: number | undefined,
): Record<string, unknown> {
  const template = mapping(spec["TaskTemplate"]);
  const resources = mapping(template["Resources"]);
  const limits = { ...mapping(resources["Limits"]), MemoryBytes: bytes };
  return { ...spec, TaskTemplate: { ...template, Resources: { ...resources, Limits: limits } } };
}

/** Why labels do not allow these limits; undefined if they do. */
export function problemOf(
  { memoryBytes, cores }: ChosenLimits,
  labels: Readonly<Record<string, string>>,
): string | undefined {
  const scaling = readLabels(labels);
  const { memory, cpus } = scaling.ok ? scaling.value : {};
  return outside("memory", memoryBytes, memory) ?? outside("cpus", cores, cpus);
}

function outside(kind: string, value: number | undefined, bounds: AutoLimit | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (bounds === undefined) return `the labels do not ask for automatic ${kind}`;
  return value < bounds.min || value > bounds.max
    ? `the labels allow ${kind} from ${bounds.min} to ${bounds.max}`
    : undefined;
}
