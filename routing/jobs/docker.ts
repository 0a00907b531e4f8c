/** How Docker has jobs: labels of Swarm services, and the states of tasks. */

/** The first says that a Swarm service is a job. */
export const scheduleLabels = {
  cron: "switchyard.schedule",
  zone: "switchyard.schedule.zone",
  deadline: "switchyard.schedule.deadline",
} as const;

/** The label of a job's Swarm service with the time for which its last run was started. */
export const runLabel = "switchyard.run";

export const isJob = (labels: Readonly<Record<string, string>>): boolean =>
  labels[scheduleLabels.cron] !== undefined;

/**
 * The label of a Swarm service that nothing but a restore may start, because the data that it uses is being exchanged. Its value is the
 * time until which that may last: a restore that was killed does not remove it.
 */
export const holdLabel = "switchyard.hold";

export const isHeld = (labels: Readonly<Record<string, string>>, nowMs: number): boolean =>
  Date.parse(labels[holdLabel] ?? "") > nowMs;

/** The states of a task that is over. */
export const endedStates: readonly string[] = [
  "complete",
  "shutdown",
  "failed",
  "rejected",
  "orphaned",
  "remove",
];

/** Docker needs a moment to make the next attempt of a run that has failed. */
export const settledMs = 5_000;
