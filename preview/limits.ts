/** What the autoscaler recommends, as far as somebody has to act on it. Pure. */
import { hasAutomatic, type ServiceConfig } from "../components/config/services";
import { describeLimits, type LimitsStatus, type LimitStatus } from "../routing/scaling/limits-status";
import { parseStatus } from "../routing/scaling/status";

/** Whether a limit is outside of what is recommended, and nothing but the stack file changes it. */
const isOff = ({ current, lower, upper, auto }: LimitStatus): boolean =>
  !auto && (current === undefined || current < lower || current > upper);

function offIn({ memory, cpus, ...rest }: LimitsStatus): LimitsStatus {
  return { ...rest, ...(memory && isOff(memory) && { memory }), ...(cpus && isOff(cpus) && { cpus }) };
}

/**
 * A sentence for each limit that is missing or outside of its bounds.
 *
 * @param status as Consul has it; undefined without an autoscaler
 */
export function limitNotes(status: string | undefined, services: readonly ServiceConfig[]): string[] {
  if (status === undefined) return [];
  const read = parseStatus(status);
  if (!read.ok)
    return [`The autoscaler's recommendations are not shown: its status in Consul ${read.error}.`];
  const names = new Set(services.filter(({ limits }) => !hasAutomatic(limits)).map(({ name }) => name));
  return (read.value.limits ?? [])
    .filter(({ name }) => names.has(name))
    .flatMap((limits) => describeLimits(offIn(limits)).map((line) => `${limits.name}: ${line}.`));
}
