/** A service of a compose file on its way into a stack file. Pure. */
import type { Say } from "./fate";
import { cleaned } from "./networks";
import type { Port } from "./ports";
import { list, secretWords, words, type Files, type Mapping } from "./read";
import type { Scope } from "./variables";

export interface Source extends Files, Scope {
  /** The command that encrypts a value from standard input. */
  readonly secretCommand: (key: string) => string;
  /** How many services the stack file has already. */
  readonly present: number;
  /** The folder of the compose file. */
  readonly folder: string;
  /** Whether a service of the stack file has the path `/` already. */
  readonly hasRoot: boolean;
  /** What Compose calls the file unless it has a `name`: the folder. */
  readonly project: string;
}

/** What all services of a file share. */
export interface Job extends Source {
  readonly compose: Mapping;
  readonly services: Mapping;
  /** The port that gets the path `/`. */
  readonly root: Port | undefined;
  /** Collects the values to encrypt, by key in the stack file. */
  readonly secrets: Map<string, string>;
  readonly say: Say;
}

/** The cure for most keys without a counterpart. */
export const own = "use its own key here, see docs/services.md";

/** Stands in a command where an encrypted value takes its place. */
const placeholder = "to be encrypted";

export class Draft {
  readonly name: string;
  /** The service as it stands in the stack file. */
  readonly service: Record<string, unknown>;

  /**
   * @param original its name in the compose file
   * @param given its keys there
   * @param index its place among the services of the stack file
   */
  constructor(
    readonly original: string,
    readonly given: Mapping,
    readonly index: number,
    readonly job: Job,
  ) {
    this.name = cleaned(original);
    this.service = { name: this.name };
    if (this.name !== original) job.say(`services.${original}`, "changed", `is called ${this.name}`);
  }

  /** Says what became of a key. */
  readonly say: Say = (key, fate, text) => this.job.say(`services.${this.original}.${key}`, fate, text);

  /** Leaves a key out. */
  drop(key: string, why: string): unknown {
    return this.say(key, "left out", why);
  }

  /** Sets a key of the stack file. */
  keep(key: string, to: string, value: unknown): unknown {
    this.service[to] = value;
    return this.say(key, key === to ? "kept" : "changed", to);
  }

  /** The words of a command, with marks in place of secrets. */
  argv(value: unknown): string[] {
    if (typeof value !== "string") return list(value).map(String);
    const { hidden } = this.job;
    const whole = words(hidden.reveal(value));
    const marked = words(value);
    // Compose splits what a variable holds as well. Which of these words hold its secret is then unknown.
    return marked.map((word) => hidden.reveal(word)).join("\0") === whole.join("\0")
      ? marked
      : whole.map((word) => hidden.of("SECRET", word));
  }

  /** The words of a command, with those that hold a secret encrypted. */
  encrypted(key: string, to: string, argv: readonly string[]): string[] {
    const isHidden = secretWords(argv, this.job.hidden);
    return argv.map((word, at) => {
      if (isHidden[at] !== true) return word;
      this.job.secrets.set(`services[${this.index}].${to}[${at}]`, this.job.hidden.reveal(word));
      this.say(key, "kept", `${to}[${at}], encrypted`);
      return placeholder;
    });
  }
}
