/** Tells the leader what instances on this node use, while it asks for some, and gives them the limits that it chooses. */
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "../../../../lib/complaint";
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { encodeUsage } from "../../../../routing/scaling/usage";
import type { Consul } from "../consul/client";
import { entriesOf } from "../consul/decode";
import type { Log } from "../log";
import type { Limiter } from "./limiter";
import type { Meter } from "./measure";

const everyMs = 4_000;

/** The services whose use is asked for, as the leader writes them. */
export const measuredIn = (value: string | undefined): ReadonlySet<string> =>
  new Set((value ?? "").split("\n").filter((id) => /^[a-z0-9]{25}$/.test(id)));

export interface PublishOptions {
  readonly node: string;
  readonly consul: Consul;
  readonly meter: Meter;
  /** Undefined if limits stay as they are. */
  readonly limiter: Limiter | undefined;
  readonly log: Log;
}

/** Measures and writes until the signal. */
export async function publishUsage(
  { node, consul, meter, limiter, log }: PublishOptions,
  signal: AbortSignal,
): Promise<void> {
  const complaint = new Complaint(log);
  for (let sequence = Date.now(); !signal.aborted; sequence++) {
    try {
      const { body } = await consul.get(`kv/${scalingKeys.measure}`);
      const services = measuredIn(entriesOf(body, scalingKeys.measure).get("")?.value);
      if (services.size > 0) {
        const usage = await meter.measure(services);
        await consul.putKey(scalingKeys.usage + node, encodeUsage({ sequence, ...usage }));
        await limiter?.apply(meter.running);
      }
      complaint.clear();
    } catch (error) {
      complaint.about(`instances are not measured or limited: ${messageOf(error)}`);
    }
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
}
