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
