/** The report of an import. */

/** What became of a key. */
export interface Fate {
  /** Where it is in the compose file: `services.web.ports`. */
  readonly key: string;
  readonly fate: "kept" | "changed" | "left out";
  /** What it became, or why it was left out and the cure. */
  readonly text: string;
}

/** Reports what became of a key. */
export type Say = (key: string, fate: Fate["fate"], text: string) => unknown;
