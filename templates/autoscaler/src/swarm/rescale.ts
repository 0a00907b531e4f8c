/** A change that the narrow socket makes to a service: another number of replicas within its own range. Pure, but for the time. */
import { isMapping, parseJson } from "../../../../lib/values";
import { isHeld, isJob } from "../../../../routing/jobs/docker";
import { readLabels } from "../../../../routing/scaling/labels";
import { labelsOf } from "./services";
import type { Rescale } from "./types";

/** The new specification, or the status and sentence of a refusal. */
export type Respecified =
  | { readonly ok: true; readonly spec: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly status: 400 | 403 | 409; readonly why: string };

export const refuse = (status: 400 | 403 | 409, why: string): Respecified => ({ ok: false, status, why });

/** Reads the body of a change; undefined if it is anything but a version and a number of replicas. */
export function readRescale(body: string): Rescale | undefined {
  const value = parseJson(body);
  if (!isMapping(value) || Object.keys(value).length !== 2) return undefined;
  const { version, replicas } = value;
  return isCount(version) && isCount(replicas) ? { version, replicas } : undefined;
}

export const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** @param service as Docker answers `GET /services/ID` */
export function rescale(service: unknown, { version, replicas }: Rescale): Respecified {
  const found = unchanged(service, version);
  if (!found.ok) return found;
  const { spec } = found;
  if (isJob(labelsOf({ Spec: spec }))) return refuse(403, "the service is a job");
  const scaling = readLabels(labelsOf({ Spec: spec }));
  const range = scaling.ok ? scaling.value.replicas : undefined;
  if (range === undefined) return refuse(403, "the service's labels do not ask for it to be scaled");
  if (replicas < range.min || replicas > range.max)
    return refuse(403, `the service's labels allow ${range.min} to ${range.max} replicas`);
  const mode = isMapping(spec["Mode"]) ? spec["Mode"] : {};
  if (!isMapping(mode["Replicated"])) return refuse(403, "the service is not replicated");
  return {
    ok: true,
    spec: { ...spec, Mode: { ...mode, Replicated: { ...mode["Replicated"], Replicas: replicas } } },
  };
}

/** The specification of a service, if it is still that of the version, no restore holds it, and it can be sent back as it is. */
export function unchanged(service: unknown, version: number): Respecified {
  if (!isMapping(service) || !isMapping(service["Spec"]) || !isMapping(service["Version"]))
    return refuse(409, "Docker does not tell what the service is");
  if (service["Version"]["Index"] !== version) return refuse(409, "the service has changed meanwhile");
  const spec = service["Spec"];
  if (isHeld(labelsOf({ Spec: spec }), Date.now()))
    return refuse(409, "script/restore is exchanging the data that the service uses");
  return isExact(spec)
    ? { ok: true, spec }
    : refuse(403, "the service has a number that is too large to be passed on");
}

/** Whether all numbers are as Docker wrote them: JavaScript rounds whole numbers above 2^53. */
const isExact = (value: unknown): boolean =>
  typeof value === "object" && value !== null
    ? Object.values(value).every(isExact)
    : typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value);
