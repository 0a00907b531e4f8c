/** Why HAProxy has to be reloaded: values, with one function that makes the sentence. Pure. */
import { some } from "../../../../lib/text";
import type { ReloadKind } from "../metrics";

/** What differs in a section: the first line or word that goes and that comes. */
export interface Difference {
  readonly from: string;
  readonly to: string;
}

interface PartChange {
  readonly part: string;
  /** `new`, `gone`, or what differs. */
  readonly change: "new" | "gone" | Difference;
}

/** The kind is the label of `switchyard_reloads_total`. */
export type Reason = { readonly kind: ReloadKind } & (
  | ({ readonly kind: "settings" | "tcp port" } & PartChange)
  /** `poolHas`: the pool has backends of this profile, and all are taken. */
  | { readonly kind: "new service"; readonly service: string; readonly poolHas: boolean }
  | { readonly kind: "service options"; readonly service: string; readonly difference: Difference }
  /** `why` names the certificate. */
  | { readonly kind: "certificate"; readonly why: string }
  | { readonly kind: "recovery"; readonly complaints: readonly string[] }
);

const shown = ({ from, to }: Difference): string => `(${from} -> ${to})`;

export function toSentence(reason: Reason): string {
  switch (reason.kind) {
    case "settings":
    case "tcp port": {
      const { part, change } = reason;
      return typeof change === "string" ? `${part} is ${change}` : `${part} changed ${shown(change)}`;
    }
    case "new service":
      return `service ${reason.service} is new and ${reason.poolHas ? "all spare backends are taken" : "has options of its own"}`;
    case "service options":
      return `service ${reason.service} has other options ${shown(reason.difference)}`;
    case "certificate":
      return reason.why;
    case "recovery":
      return `HAProxy refused a change while running (${some(reason.complaints)})`;
  }
}

export const toSentences = (reasons: readonly Reason[]): string[] => [...new Set(reasons.map(toSentence))];
