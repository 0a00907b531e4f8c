/** How a preview and the stack's outputs show settings of a service. */
import { isMapping } from "../../lib/values";
import { describeSchedule } from "../../routing/jobs/schedule";
import { writeDuration } from "../../routing/grammar";
import type { ServiceConfig } from "./services";
import { describeBackup } from "./backups";
import { writeReference } from "./files";
import { writeNetwork } from "./networks";
import { runningKeys } from "./running";
import { writeVolume } from "./volumes";

/** What else than its image and limits changes how a service's instances run, by key. Without what may be secret. */
export function settingsOf(service: ServiceConfig): Record<string, string> {
  const { volumes, tmpfs, secrets, configs } = service;
  const keys = Object.keys(runningKeys) as (keyof typeof runningKeys)[];
  const settings: Readonly<Record<string, unknown>> = {
    volumes: volumes.map(writeVolume),
    tmpfs: tmpfs.map(writeVolume),
    secrets: secrets.map(writeReference),
    configs: configs.map(writeReference),
    networks: service.networks.map(writeNetwork),
    ...Object.fromEntries(keys.map((key) => [key, service[key]])),
    // Its options may hold a token.
    logging: service.logging?.driver,
    mode: service.mode === "replicated" ? "" : service.mode,
    read_only: service.read_only || "",
    init: service.init || "",
    rebalance: service.rebalance || "",
    entrypoint: service.entrypoint,
    // Its arguments may be secret.
    before: service.before?.[0],
    schedule: service.schedule && describeSchedule(service.schedule),
    backup: service.backup && describeBackup(service.backup),
    deadline: service.schedule && writeDuration(service.schedule.deadlineMs),
  };
  const texts = Object.entries(settings).map(([key, value]) => [key, textOf(value)] as const);
  return Object.fromEntries(texts.filter(([, text]) => text !== ""));
}

/** `a, b` for a list, `a=b, c=d` for a mapping. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join(", ");
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return `${value}`;
  if (!isMapping(value)) return "";
  return Object.entries(value)
    .map(([key, item]) => [key, textOf(item)])
    .filter(([, text]) => text !== "")
    .map(([key = "", text = ""]) => `${key}=${text}`)
    .join(", ");
}
