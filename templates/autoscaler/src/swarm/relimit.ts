/** The second change that the narrow socket makes to a service: labels with the limits chosen for it, which restart no task. Pure. */
import { isMapping, parseJson } from "../../../../lib/values";
import { readLabels } from "../../../../routing/scaling/labels";
import { writeChosen, type ChosenLimits } from "../../../../routing/scaling/limits";
import type { AutoLimit } from "../../../../routing/scaling/resources";
import { isCount, refuse, unchanged, type Respecified } from "./rescale";
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

/** Reads the body of a change; undefined if it is anything but a version and limits. */
export function readRelimit(body: string): Relimit | undefined {
  const value = parseJson(body);
  if (!isMapping(value)) return undefined;
  const { version, ...rest } = value;
  const limits = readLimits(rest);
  return isCount(version) && limits !== undefined ? { version, ...limits } : undefined;
}

/** @param service as Docker answers `GET /services/ID` */
export function relimit(service: unknown, { version, ...limits }: Relimit): Respecified {
  const found = unchanged(service, version);
  if (!found.ok) return found;
  const problem = problemOf(limits, labelsOf({ Spec: found.spec }));
  if (problem !== undefined) return refuse(403, problem);
  const labels = isMapping(found.spec["Labels"]) ? found.spec["Labels"] : {};
  return { ok: true, spec: { ...found.spec, Labels: { ...labels, ...writeChosen(limits) } } };
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
