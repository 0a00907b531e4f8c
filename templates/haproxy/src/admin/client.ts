/** What a load balancer that runs says of its instances, and how commands that run beside it ask it. */
import type { InstanceView, View } from "./status";

/** By `service address:port`. */
export type Live = ReadonlyMap<string, InstanceView>;

export const liveOf = ({ services }: Pick<View, "services">): Live =>
  new Map(
    services.flatMap(({ name, instances }) =>
      instances.map((instance): [string, InstanceView] => [`${name} ${instance.address}`, instance]),
    ),
  );

/** Milliseconds. */
const patience = 5_000;
/** Anybody can listen at that port, and what is answered there goes to a terminal. */
const harmful = /[^\P{Cc}\n]|[\u2028-\u202e\u2066-\u2069]/u;

/** What the admin port answers; undefined where nobody answers, or somebody else does. */
export async function askRunning(admin: string, question: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(patience);
    const answer = await fetch(`http://${admin}${question}`, { signal, redirect: "error" });
    const body = await answer.text();
    return answer.ok && !harmful.test(body) ? body : undefined;
  } catch {
    return undefined;
  }
}
