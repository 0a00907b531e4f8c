/** Values in Consul's KV that were refused, each reported once until it changes. */
import type { Parsed } from "../../../../routing/grammar";
import type { Log } from "../log";

export class Refused {
  private known: ReadonlyMap<string, string> = new Map();

  constructor(private readonly log: Log) {}

  /** @param values by key, as parsed now */
  report(values: Iterable<readonly [string, Parsed<unknown>]>): void {
    const next = new Map<string, string>();
    for (const [key, value] of values) {
      if (value.ok) continue;
      next.set(key, value.error);
      if (this.known.get(key) !== value.error)
        this.log(`${key} ${value.error}; its last good value stays in use`);
    }
    this.known = next;
  }
}
