/**
 * Reads the events that either engine logs with `--event-log`. Pure. Unlike the text for the user, they cannot be imitated by a value
 * of several lines. The format is that of Pulumi's Automation API:
 * https://github.com/pulumi/pulumi/blob/master/sdk/nodejs/automation/events.ts
 */
import { nameOf } from "../engine/state";

/** A resource that would change, with the names of its changed properties. Values are left out: they may be secret. */
export interface Step {
  readonly operation: string;
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly properties: readonly string[];
}

export interface Plan {
  readonly changes: Readonly<Record<string, number>>;
  readonly steps: readonly Step[];
}

/** A resource of the state that no longer exists, so `up` creates it again. */
export type Gone = Pick<Step, "type" | "name">;

type Inputs = Readonly<Record<string, unknown>>;

interface Metadata {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly diffs?: readonly string[] | null;
  readonly old?: { readonly inputs?: Inputs } | null;
  readonly new?: { readonly inputs?: Inputs } | null;
}

interface EngineEvent {
  readonly resourcePreEvent?: { readonly metadata: Metadata };
  readonly summaryEvent?: { readonly resourceChanges?: Readonly<Record<string, number>> };
}

/** Reads a log: one event per line. If the engine was killed, the last line may be incomplete. */
export function readEvents(log: string): Plan & { readonly gone: readonly Gone[] } {
  const lines = log.split("\n").slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as EngineEvent);
  const all = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  const refreshed = new Set(all.filter(({ op }) => op === "refresh").map(({ urn }) => urn));
  const steps = all.filter(({ op, urn }) => !["same", "refresh"].includes(op) && !isDefaultProvider(urn));
  return {
    changes: events.findLast(({ summaryEvent }) => summaryEvent)?.summaryEvent?.resourceChanges ?? {},
    steps: steps.map(toStep),
    gone: steps
      .filter(({ op, urn }) => op === "create" && refreshed.has(urn))
      .map(({ type, urn }) => ({ type, name: nameOf(urn) })),
  };
}

/** Providers that the program does not mention. The CLI does not show them either. */
const isDefaultProvider = (urn: string): boolean => /::pulumi:providers:[^:]+::default(_|$)/.test(urn);

const toStep = ({ op, urn, type, diffs, old, new: now }: Metadata): Step => ({
  operation: op,
  urn,
  type,
  name: nameOf(urn),
  properties: diffs ?? changedInputs(old?.inputs, now?.inputs),
});

/** For dynamic providers, which do not report what changes. */
function changedInputs(old: Inputs | undefined, now: Inputs | undefined): string[] {
  if (old === undefined || now === undefined) return [];
  const differs = (key: string) => JSON.stringify(old[key]) !== JSON.stringify(now[key]);
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((key) => key !== "__provider" && differs(key))
    .sort();
}
