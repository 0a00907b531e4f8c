/** Asks a running load balancer at its admin port. */

const timeoutMs = 5_000;
/** Anything may listen at that port, and the answer goes to a terminal. */
const harmful = /[^\P{Cc}\n]|[\u2028-\u202e\u2066-\u2069]/u;

/** The answer of the admin port to a path; undefined if no load balancer answers there. */
export async function askRunning(admin: string, path: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(`http://${admin}${path}`, { signal, redirect: "error" });
    const body = await answer.text();
    return answer.ok && !harmful.test(body) ? body : undefined;
  } catch {
    return undefined;
  }
}
