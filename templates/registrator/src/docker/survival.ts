/** Decides when a container that was told to stop counts as one that goes on. Pure. */
import { plural } from "../../../../lib/text";
import type { Inspect, Service } from "../types";
import { endsContainer } from "./signals";

/** What told a container to stop. */
export interface StopRequest {
  /** Several only if the container's own stop signal was not known yet. */
  readonly signals: readonly string[];
  /** By the engine's clock, in milliseconds since 1970. */
  readonly atMs: number;
}

/** If it does not go on, it may still be ending; `pending` says what would prove otherwise. */
export type Survival =
  { readonly goesOn: true; readonly reason?: string } | { readonly goesOn: false; readonly pending?: string };

/** `docker stop -t` can allow more time than the container's own timeout, and no event says how much. */
const leastWaitMs = 60_000;
/** Swarm, and an engine asked to stop a container, always end it, but they do not say when. */
const longestStopMs = 3_600_000;
const usualStopSeconds = 10;
/** What the engine needs to end a container after its timeout. */
const marginSeconds = 5;

export const isSwarmTask = ({ Config: config }: Inspect): boolean =>
  Boolean(config?.Labels?.["com.docker.swarm.task.id"]);

/** How long the container usually takes to end after its stop signal; afterwards it is worth another look. */
export function usualStopMs(container: Inspect, killGraceSeconds: number | undefined): number {
  if (killGraceSeconds !== undefined) return killGraceSeconds * 1000;
  const seconds = container.Config?.StopTimeout ?? usualStopSeconds;
  return ((seconds < 0 ? usualStopSeconds : seconds) + marginSeconds) * 1000;
}

/**
 * Time alone proves little: the container may still finish its requests. It goes on if it was started again, if
 * `-kill-grace` says so, or if it passes a health check that began after the wait.
 */
export function survivalOf(
  container: Inspect,
  services: readonly Service[],
  request: StopRequest,
  waitedMs: number,
  killGraceSeconds: number | undefined,
): Survival {
  const { Config: config, State: state } = container;
  if (Date.parse(state?.StartedAt ?? "") > request.atMs) return { goesOn: true, reason: "was started again" };
  if (!request.signals.some((signal) => endsContainer(signal, config?.StopSignal || undefined)))
    return { goesOn: true };

  const seconds = Math.round(waitedMs / 1000);
  const stillRuns = `still runs ${seconds} s after its stop signal`;
  const usualMs = usualStopMs(container, killGraceSeconds);
  if (killGraceSeconds !== undefined)
    return waitedMs < usualMs ? { goesOn: false } : { goesOn: true, reason: stillRuns };

  const isChecked = state?.Health?.Status !== undefined && state.Health.Status !== "none";
  // Consul's own check decides, once it is registered again.
  const isCheckedByConsul = services.length > 0 && services.every(({ registration }) => registration.Check);
  const waitsLong =
    isSwarmTask(container) || (config?.StopTimeout ?? 0) < 0 || !(isChecked || isCheckedByConsul);
  const waitMs = Math.max(usualMs, waitsLong ? longestStopMs : leastWaitMs);
  const passed = (state?.Health?.Log ?? []).some(
    ({ Start: start = "", ExitCode: code }) => code === 0 && Date.parse(start) >= request.atMs + waitMs,
  );
  if (waitedMs >= waitMs && (passed || !isChecked))
    return {
      goesOn: true,
      reason: passed ? `passes its health check ${seconds} s after its stop signal` : stillRuns,
    };
  if (waitedMs < usualMs || isSwarmTask(container)) return { goesOn: false };
  const proof = isChecked ? "passes a health check that begins" : "still runs";
  const minutes = Math.ceil(waitMs / 60_000);
  return {
    goesOn: false,
    pending: `it was told to stop and may still end; it gets requests again if it ${proof} ${plural(minutes, "minute")} after its stop signal, or is restarted`,
  };
}
