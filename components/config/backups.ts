/** The schema of a service's `backup`, and the job that it stands for. */
import { z } from "zod";

import { describeSchedule, readSchedule, type Schedule } from "../../routing/jobs/schedule";
import { writeDuration } from "../../routing/grammar";
import { mapping, readBy, text, whole } from "../schema";
import { isOwn, type Volume } from "./volumes";

const placeForm = 'a folder such as "/srv/backups", or "s3:…" or "sftp:…" without a password';
const most = whole(1, 10_000).optional();

/** What is encrypted with it cannot be read without it. */
export const passwordSecret = "backup_password";
/** The secrets of the stack that each kind of place needs. */
const placeSecrets = {
  s3: ["backup_s3_access_key", "backup_s3_secret_key"],
  sftp: ["backup_ssh_key", "backup_ssh_known_hosts"],
} as const;
export const secretNames = [passwordSecret, ...placeSecrets.s3, ...placeSecrets.sftp];

/** @param command the schema of a command */
export const backupOf = <Command extends z.ZodType<string[]>>(command: Command) =>
  mapping({
    schedule: readBy(readSchedule),
    to: text(
      /^(\/[^\p{Cc}:]{0,4095}|(s3|sftp):(?!(\w+:)?(\/\/)?[^/@]*:[^/@]*@)[^\p{Cc} ]{1,4096})$/u,
      placeForm,
    ),
    keep: mapping({
      last: most,
      hourly: most,
      daily: most,
      weekly: most,
      monthly: most,
      yearly: most,
    }).default({}),
    dump: command.optional(),
    load: command.optional(),
  });

export interface Backup {
  readonly schedule: Schedule;
  readonly to: string;
  readonly keep: Readonly<Record<string, number | undefined>>;
  readonly dump?: readonly string[] | undefined;
  readonly load?: readonly string[] | undefined;
}

/** The volumes whose data is the service's own. */
export const ownVolumes = (volumes: readonly Volume[]): string[] => [
  ...new Set(volumes.filter(isOwn).map(({ source = "" }) => source)),
];

interface BackedUp {
  readonly name: string;
  readonly swarmName: string;
  readonly volumes: readonly Volume[];
  readonly healthCheck?: unknown;
  readonly backup?: Backup | undefined;
}

export const jobName = (name: string): string => `${name}-backup`;
/** The name of the temporary Swarm service into which a restore loads a dump. */
export const loadingName = (name: string): string => `${name}-restore`;
/** The volume with the socket at which a job asks for a dump. */
export const dumpSocket = "backup-docker";

/** What a service with a backup lacks: path, problem and cure. */
export function lacking({ volumes, healthCheck, backup }: Omit<BackedUp, "name" | "swarmName">) {
  if (backup === undefined) return [];
  const { dump, load } = backup;
  const found: [string[], string, string][] = [];
  if (ownVolumes(volumes).length === 0)
    found.push([
      [],
      "is set, but the service writes to no volume of a node",
      "remove it, or give it a named volume",
    ]);
  const [, second] = ownVolumes(volumes);
  if (dump !== undefined && second !== undefined)
    found.push([
      ["dump"],
      `is set, but nothing would back up volume ${second}: a restore exchanges all volumes`,
      "leave the service one volume that it writes to, and give the other to another service",
    ]);
  const shared = volumes.find((volume) => volume.type !== "tmpfs" && !volume.readOnly && !isOwn(volume));
  if (dump !== undefined && shared !== undefined)
    found.push([
      ["dump"],
      `is set, but the instance that load fills would write to ${shared.source ?? ""}, beside the present one`,
      "mount it read-only, or leave it to another service",
    ]);
  if (dump !== undefined && load === undefined)
    found.push([["dump"], "is set, but nothing gets it back", "set load to a command that reads it"]);
  if (load !== undefined && dump === undefined)
    found.push([["load"], "is set, but there is no dump", "set dump to a command that writes it"]);
  if (load !== undefined && healthCheck === undefined)
    found.push([
      ["load"],
      "is set, but nothing says when the service can take it",
      "set healthCheck, so that a restore waits until then",
    ]);
  return found;
}

/** `daily=7`, `weekly=4`. */
const keptBy = (keep: Backup["keep"]): string[] =>
  Object.entries(keep).flatMap(([key, number]) => (number === undefined ? [] : [`${key}=${number}`]));

/**
 * The job that makes the backups, as it would be written in the stack file.
 *
 * @param secrets the names of the stack's secrets
 * @param host what restic calls the stack
 */
export function jobOf(
  { name, swarmName, volumes, backup }: BackedUp,
  secrets: readonly string[],
  host: string,
): Readonly<Record<string, unknown>> | undefined {
  if (backup === undefined) return undefined;
  const { schedule, to, keep, dump } = backup;
  const own = ownVolumes(volumes);
  const [, kind] = /^(s3|sftp):/.exec(to) ?? [];
  const needed = [
    passwordSecret,
    ...(kind === "s3" ? placeSecrets.s3 : kind === "sftp" ? placeSecrets.sftp : []),
  ];
  return {
    name: jobName(name),
    build: "backup",
    schedule: { cron: schedule.cron, time_zone: schedule.zone, deadline: writeDuration(schedule.deadlineMs) },
    command: [
      "backup",
      `--repository=${kind === undefined ? "/repository" : to}`,
      `--host=${host}`,
      ...(dump === undefined ? own.map((source) => `--volume=${source}`) : [`--dump=${swarmName}`]),
      ...keptBy(keep).map((each) => `--keep=${each}`),
    ],
    // With a dump, they only say on which node it runs.
    volumes: [
      ...own.map((source) => ({ type: "volume", source, target: `/volumes/${source}`, read_only: true })),
      ...(kind === undefined ? [{ type: "bind", source: to, target: "/repository" }] : []),
    ],
    secrets: needed.filter((secret) => secrets.includes(secret)),
    tmpfs: ["/tmp"],
    read_only: true,
    init: true,
    cap_drop: ["ALL"],
    // It reads, and in a folder writes, files of every user.
    cap_add: ["DAC_OVERRIDE"],
  };
}

/** `0 3 * * * to /srv/backups, keep daily=7`. */
export function describeBackup({ schedule, to, keep, dump }: Backup): string {
  const kept = keptBy(keep);
  return [
    `${describeSchedule(schedule)} to ${to}`,
    ...(kept.length === 0 ? [] : [`keep ${kept.join(" ")}`]),
    ...(dump === undefined ? [] : [`dump ${dump[0] ?? ""}`]),
  ].join(", ");
}
