/** Gives the instances on this node the limits that the leader has chosen. */
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { parseLimits, type ChosenLimits } from "../../../../routing/scaling/limits";
import type { Consul } from "../consul/client";
import { entriesOf } from "../consul/decode";
import type { Log } from "../log";
import type { Container } from "./measure";

export interface LimiterOptions {
  readonly consul: Pick<Consul, "get">;
  /** The narrow socket. */
  readonly socket: { limitTask(task: string, limits: ChosenLimits): Promise<void> };
  readonly log: Log;
}

export class Limiter {
  /** What each task has been given. */
  private done: ReadonlyMap<string, string> = new Map();
  private readonly complaint: Complaint;

  constructor(private readonly options: LimiterOptions) {
    this.complaint = new Complaint(options.log);
  }

  /** A task whose limits cannot be changed now is tried again with the next call. */
  async apply(running: readonly Container[]): Promise<void> {
    const next = new Map<string, string>();
    const failures: string[] = [];
    for (const [task, limits] of await this.chosenFor(running)) {
      const text = JSON.stringify(limits);
      try {
        if (this.done.get(task) !== text) await this.options.socket.limitTask(task, limits);
        next.set(task, text);
      } catch (error) {
        failures.push(`the limits of task ${task} are not changed: ${messageOf(error)}`);
      }
    }
    this.done = next;
    if (failures.length > 0) this.complaint.about(failures.join("; "));
    else this.complaint.clear();
  }

  private async chosenFor(running: readonly Container[]): Promise<[string, ChosenLimits][]> {
    const { body } = await this.options.consul.get(`kv/${scalingKeys.limits}`);
    const value = entriesOf(body, scalingKeys.limits).get("")?.value;
    if (value === undefined) return [];
    const limits = parseLimits(value);
    if (!limits.ok) throw new Error(`${scalingKeys.limits} ${limits.error}`);
    return running.flatMap(({ task, service }): [string, ChosenLimits][] => {
      const chosen = limits.value.get(service);
      return chosen === undefined ? [] : [[task, chosen]];
    });
  }
}
