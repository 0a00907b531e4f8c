/** The command line of `script/preview`. Pure. */
import { UserError } from "../lib/errors";

export interface Options {
  readonly stack: string;
  readonly engine: "pulumi" | "embedded";
  readonly format: "text" | "json" | "markdown";
  /** A git ref; routes are compared with the stack file there. Default: with the deployed stack. */
  readonly base?: string;
  /** URL of the Consul whose KV store holds version pins and traffic splits. */
  readonly consul?: string;
  /** Whether to preview the routes only, without running the engine. */
  readonly routesOnly: boolean;
  /** Other arguments, passed on to the engine. */
  readonly rest: readonly string[];
}

export const usage = `Usage: script/preview [STACK] [--json | --markdown] [--base REF] [--consul URL] [--routes-only]
  Shows what script/up would change in the infrastructure and in the routes. Changes nothing itself.
  STACK          the stack; default: $STACK, or dev
  --json         print JSON, for programs
  --markdown     print Markdown, for a comment on a pull request
  --base REF     compare the routes with the stack file at a git ref; default: with the deployed stack
  --consul URL   read version pins, traffic splits and recommended limits from this Consul's KV store
  --routes-only  preview the routes only, which needs neither an engine nor credentials
  Other arguments are passed to the engine.`;

export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options | "help" {
  const left = [...argv];
  const rest: string[] = [];
  const values = new Map<string, string>();
  const flags = new Set<string>();
  let stack: string | undefined;
  for (let argument = left.shift(); argument !== undefined; argument = left.shift()) {
    const [name = "", ...given] = argument.split("=");
    if (name === "--base" || name === "--consul") {
      const value = given.length > 0 ? given.join("=") : left.shift();
      if (value === undefined || value === "" || value.startsWith("-"))
        throw new UserError(
          `${name} needs a value, for example ${name} ${name === "--base" ? "main" : "http://localhost:8500"}.`,
        );
      values.set(name, value);
    } else if (["--json", "--markdown", "--routes-only", "--help", "-h"].includes(argument))
      flags.add(argument);
    else if (stack === undefined && rest.length === 0 && !argument.startsWith("-")) stack = argument;
    else rest.push(argument);
  }
  if (flags.has("--help") || flags.has("-h")) return "help";
  if (flags.has("--json") && flags.has("--markdown"))
    throw new UserError("--json and --markdown cannot be combined: use one of them.");
  const engine = env["ENGINE"] ?? "embedded";
  if (engine !== "pulumi" && engine !== "embedded")
    throw new UserError(`ENGINE is "${engine}": use ENGINE=pulumi or ENGINE=embedded, or leave it unset.`);
  const name = stack ?? env["STACK"] ?? "dev";
  if (!/^[\w.-]+$/.test(name))
    throw new UserError(`"${name}" is not a stack name: use letters, digits, dashes, underscores and dots.`);
  const [base, consul] = [values.get("--base"), values.get("--consul")];
  return {
    stack: name,
    engine,
    format: flags.has("--json") ? "json" : flags.has("--markdown") ? "markdown" : "text",
    ...(base === undefined ? {} : { base }),
    ...(consul === undefined ? {} : { consul }),
    routesOnly: flags.has("--routes-only"),
    rest,
  };
}
