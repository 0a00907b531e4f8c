/**
 * What a load balancer tells the autoscaler: one value in Consul's KV for each load balancer, written every 2 s. A line for each
 * service that has anything to tell; whoever is not in it has nothing to do.
 *
 * ```
 * switchyard-figures 2 8734 51203
 * hello/v1 42 3 0 118.5 0
 * ```
 *
 * The head has the version of the format, a sequence number, which changes with every writing, and Consul's index that the load
 * balancer has in force, as `/ready?index=` asks for it. A line has the service, and its concurrent, queued and held requests,
 * requests per second, and errors per second.
 */
import { ok, parseServiceName, refuse, show, type Parsed } from "../grammar";

/** Where the values are, each under its load balancer's node. No renderer watches this prefix. */
export const figuresPrefix = "service/autoscaler/figures/";

export interface ServiceFigures {
  /** Requests that instances are working on: the sum of `scur` of a backend's servers. */
  readonly concurrent: number;
  /** Requests that wait for an instance to have room: a backend's `qcur` and those of its servers. */
  readonly queued: number;
  /** Requests that wait for a sleeping service to wake. */
  readonly held: number;
  /** Requests per second since the last writing, from the difference of counters. */
  readonly rate: number;
  /** Failed requests per second: answers with 5xx, and failed connections. */
  readonly errors: number;
}

export interface Figures {
  /** Differs from the last one whenever the figures are new, even if they are the same. */
  readonly sequence: number;
  /** Consul's index in force: what was written with this one or a lower one has taken effect. */
  readonly index: number;
  readonly services: ReadonlyMap<string, ServiceFigures>;
}

const magic = "switchyard-figures 2";

/** Consul's own limit is 512 KiB. */
const mostBytes = 512 * 1024;
const mostServices = 10_000;

const count = "(?:0|[1-9][0-9]{0,6})";
const perSecond = `${count}(?:\\.[0-9])?`;
const serial = "(0|[1-9][0-9]{0,14})";
const head = new RegExp(`^${magic} ${serial} ${serial}$`);
const line = new RegExp(`^(\\S+) (${count}) (${count}) (${count}) (${perSecond}) (${perSecond})$`);

const most = 9_999_999;
const whole = (value: number): number => Math.min(most, Math.max(0, Math.round(value)));
const tenths = (value: number): number => Math.min(most, Math.max(0, Math.round(value * 10) / 10));

/** Writes figures compactly. A service with nothing to tell is left out; rates keep one decimal place. */
export function encodeFigures({ sequence, index, services }: Figures): string {
  const lines = [...services].flatMap(([service, { concurrent, queued, held, rate, errors }]) => {
    const numbers = [whole(concurrent), whole(queued), whole(held), tenths(rate), tenths(errors)];
    return numbers.every((each) => each === 0) ? [] : [[service, ...numbers].join(" ")];
  });
  return [`${magic} ${sequence} ${index}`, ...lines].join("\n");
}

/** Reads figures that anybody may have written. A value with a single mistake is refused as a whole. */
export function parseFigures(value: string): Parsed<Figures> {
  if (value.length > mostBytes) return refuse(`has more than ${mostBytes} bytes`);
  const [first = "", ...lines] = value.split("\n");
  const [sequence, index] = head.exec(first)?.slice(1).map(Number) ?? [];
  if (sequence === undefined || index === undefined)
    return refuse(`starts with ${show(first)} instead of "${magic}" and two numbers`);
  if (lines.length > mostServices) return refuse(`tells of more than ${mostServices} services`);
  const services = new Map<string, ServiceFigures>();
  for (const each of lines) {
    const fields = line.exec(each);
    const service = fields?.[1];
    if (fields === null || service === undefined || !parseServiceName(service).ok)
      return refuse(`has the line ${show(each)}, which is not a service and five numbers`);
    if (services.has(service)) return refuse(`tells of ${show(service)} twice`);
    const [concurrent = 0, queued = 0, held = 0, rate = 0, errors = 0] = fields.slice(2).map(Number);
    services.set(service, { concurrent, queued, held, rate, errors });
  }
  return ok({ sequence, index, services });
}
