/** From HAProxy's counters to figures for the autoscaler. Pure. */
import type { ServiceFigures } from "../../../../routing/scaling/figures";
import type { BackendLoad } from "../haproxy/commands";

/** The load of a service's backend. */
export interface ServiceLoad extends Omit<BackendLoad, "backend"> {
  readonly service: string;
}

/** What HAProxy says at one moment. */
export interface Reading {
  readonly loads: readonly ServiceLoad[];
  /** By service, the requests that wait for it to wake. */
  readonly held: ReadonlyMap<string, number>;
}

export class Meter {
  private before: ReadonlyMap<string, ServiceLoad> = new Map();
  private readAt = 0;

  /** The figures since the reading before. `now` is in milliseconds of a monotonic clock. */
  measure({ loads, held }: Reading, now: number): Map<string, ServiceFigures> {
    const seconds = (now - this.readAt) / 1000;
    const figures = new Map<string, ServiceFigures>();
    for (const load of loads) {
      const { service, concurrent, queued } = load;
      const before = this.before.get(service);
      const perSecond = (count: number) => (before === undefined || seconds <= 0 ? 0 : count / seconds);
      figures.set(service, {
        concurrent,
        queued,
        held: held.get(service) ?? 0,
        rate: perSecond(requestsSince(before, load)),
        errors: perSecond(increase(before?.errors, load.errors)),
      });
    }
    this.before = new Map(loads.map((load) => [load.service, load]));
    this.readAt = now;
    return figures;
  }
}

/** A counter that has been reset, as some are by a reload, says nothing about the time before. */
const increase = (before = 0, now: number): number => Math.max(0, now - before);

/** Those that servers were given. Others, such as those that a sleeping service does not wake for, are no load. */
function requestsSince(before: ServiceLoad | undefined, { requests }: ServiceLoad): number {
  let sum = 0;
  for (const [server, count] of requests) sum += increase(before?.requests.get(server), count);
  return sum;
}
