import type { ScalingStatus } from "../../../../routing/scaling/status";
import type { History } from "../leader/history";

/** What the admin port shows of this autoscaler. */
export interface View {
  readonly node: string;
  readonly dry: boolean;
  readonly isLeading: boolean;
  /** The node of the autoscaler that decides, as far as is known. */
  readonly leader: string | undefined;
  /** Why it is not ready: it should lead or wait to, and cannot. */
  readonly problem: string | undefined;
  readonly tickSeconds: number;
  readonly failures: number;
  readonly status: ScalingStatus | undefined;
  readonly history: History | undefined;
}
