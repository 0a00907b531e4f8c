/** The only change that the narrow socket makes to a container: other limits, within the bounds of its own labels. Pure. */
import { isMapping } from "../../../../lib/values";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import { margin } from "../vertical/recommend";
import { mapping } from "./registration";
import { problemOf } from "./relimit";
import { labelled } from "./services";

/** The body of Docker's `POST /containers/ID/update`. */
interface Update {
  readonly Memory?: number;
  readonly MemorySwap?: number;
  readonly NanoCpus?: number;
}

/** The update, undefined if there is nothing to change, or the status and sentence of a refusal. */
export type Updated =
  | { readonly ok: true; readonly update: Update | undefined }
  | { readonly ok: false; readonly status: 403 | 409; readonly why: string };

/**
 * @param container as Docker answers `GET /containers/ID/json`
 * @param usedBytes what it uses; undefined if that is not known
 */
export function updateOf(container: unknown, usedBytes: number | undefined, limits: ChosenLimits): Updated {
  if (!isMapping(container)) return { ok: false, status: 409, why: "Docker does not tell what it is" };
  const labels = labelled(mapping(container["Config"])["Labels"]);
  const why = problemOf(limits, labels);
  if (why !== undefined) return { ok: false, status: 403, why };
  const { memoryBytes, cores } = limits;
  const { Memory, NanoCpus } = mapping(container["HostConfig"]);
  const memory = typeof Memory === "number" && Memory > 0 ? Memory : Infinity;
  const nanoCpus = cores === undefined ? undefined : Math.round(cores * 1e9);
  if (memoryBytes !== undefined && memoryBytes < memory) {
    if (usedBytes === undefined)
      return { ok: false, status: 409, why: "Docker does not tell how much memory it uses" };
    if (memoryBytes < usedBytes * margin)
      return { ok: false, status: 409, why: `it uses ${usedBytes} bytes: too many for that limit` };
  }
  const update = {
    // Twice as much with swap space is what Docker sets as well. Engines refuse one without the other.
    ...(memoryBytes !== undefined &&
      memoryBytes !== memory && { Memory: memoryBytes, MemorySwap: 2 * memoryBytes }),
    ...(nanoCpus !== undefined && nanoCpus !== NanoCpus && { NanoCpus: nanoCpus }),
  };
  return { ok: true, update: Object.keys(update).length === 0 ? undefined : update };
}
