/** The only change that the narrow socket makes: another number of replicas within a service's own range. Pure. */
import { isMapping, parseJson } from "../../../../lib/values";
import { readLabels } from "../../../../routing/scaling/labels";
import { labelsOf } from "./services";
import type { Rescale } from "./types";

/** The new specification, or the status and sentence of a refusal. */
export type Rescaled =
  | { readonly ok: true; readonly spec: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly status: 400 | 403 | 409; readonly why: string };

const refuse = (status: 400 | 403 | 409, why: string): Rescaled => ({ ok: false, status, why });

/** Reads the body of a change; undefined if it is anything but a version and a number of replicas. */
export function readRescale(body: string): Rescale | undefined {
  const value = parseJson(body);
  if (!isMapping(value) || Object.keys(value).length !== 2) return undefined;
  const { version, replicas } = value;
  return isCount(version) && isCount(replicas) ? { version, replicas } : undefined;
}

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** @param service as Docker answers `GET /services/ID` */
export function rescale(service: unknown, { version, replicas }: Rescale): Rescaled {
  if (!isMapping(service) || !isMapping(service["Spec"]) || !isMapping(service["Version"]))
    return refuse(409, "Docker does not tell what the service is");
  if (service["Version"]["Index"] !== version) return refuse(409, "the service has changed meanwhile");
  const scaling = readLabels(labelsOf(service));
  const range = scaling.ok ? scaling.value.replicas : undefined;
  if (range === undefined) return refuse(403, "the service's labels do not ask for it to be scaled");
  if (replicas < range.min || replicas > range.max)
    return refuse(403, `the service's labels allow ${range.min} to ${range.max} replicas`);
  const spec = service["Spec"];
  const mode = isMapping(spec["Mode"]) ? spec["Mode"] : {};
  if (!isMapping(mode["Replicated"])) return refuse(403, "the service is not replicated");
  if (!isExact(spec)) return refuse(403, "the service has a number that is too large to be passed on");
  return {
    ok: true,
    spec: { ...spec, Mode: { ...mode, Replicated: { ...mode["Replicated"], Replicas: replicas } } },
  };
}

/** Whether all numbers are as Docker wrote them: JavaScript rounds whole numbers above 2^53. */
const isExact = (value: unknown): boolean =>
  typeof value === "object" && value !== null
    ? Object.values(value).every(isExact)
    : typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value);
