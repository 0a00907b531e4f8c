/** What the instances of a service say about it as a whole, which need not be the same. */
import type { InstanceOptions, ServiceOptions } from "./options";
import type { Instance } from "./types";

export interface Member {
  readonly instance: Instance;
  readonly options: InstanceOptions;
}

/** Those that can take requests: what Consul calls passing, else those it warns of; all of them where there is none. */
function serving(members: readonly Member[]): readonly Member[] {
  const healthy = members.filter(({ instance }) => instance.healthy);
  const passing = healthy.filter(({ instance }) => instance.warning !== true);
  return [passing, healthy].find(({ length }) => length > 0) ?? members;
}

/**
 * Instances of one service may differ for a while, as in a rolling update. What most of those say that serve holds, so one
 * instance cannot move a service by itself, nor dead ones keep it back; at a tie the answer must only be the same every time.
 */
export function agree(members: readonly Member[]): { options: ServiceOptions; differing: number } {
  const [only, ...more] = members;
  if (only !== undefined && more.length === 0) return { options: only.options.service, differing: 0 };
  const votes = new Map<string, { options: ServiceOptions; count: number; all: number }>();
  const voters = new Set(serving(members));
  for (const member of members) {
    const { service } = member.options;
    const key = JSON.stringify(Object.entries(service).sort(([a], [b]) => (a < b ? -1 : 1)));
    const vote = votes.get(key) ?? { options: service, count: 0, all: 0 };
    vote.all++;
    if (voters.has(member)) vote.count++;
    votes.set(key, vote);
  }
  const [winner] = [...votes].sort(([a, x], [b, y]) => y.count - x.count || (a < b ? -1 : 1));
  if (winner === undefined) throw new Error("a service without instances was admitted");
  return { options: winner[1].options, differing: members.length - winner[1].all };
}

/** Only instances that want the same count: new ones are not as old as those that wanted something else. */
export function claimedSince(members: readonly Member[], { host, path, tcpPort }: ServiceOptions): number {
  const since = members
    .filter(
      ({ options: { service } }) =>
        service.host === host && service.path === path && service.tcpPort === tcpPort,
    )
    .map(({ instance }) => instance.createIndex ?? Infinity);
  return since.reduce((first, each) => Math.min(first, each), Infinity);
}
