/** The image's entry point: a command that only looks, or the load balancer. */
import { availableParallelism } from "node:os";
import { messageOf, UserError } from "../../../lib/errors";
import type { Catalog } from "../../../routing/types";
import { askRunning } from "./admin/client";
import { catalogOnce, followCatalog } from "./cli/catalog";
import { parseCommand, runCommand, type Command } from "./cli/commands";
import { dryRun } from "./cli/dry-run";
import { parseArguments, usage, type Options } from "./cli/options";
import { ownPorts, renderOptions } from "./cli/setup";
import { bracketed } from "./config/syntax";
import { log, serve } from "./renderer";

/** `--dry`: prints the configuration at every change, or once. */
function dry(options: Options): Promise<void> {
  const https = { port: options.httpsPort, redirect: options.redirectHttps };
  const render = { ...renderOptions(options), ...(options.certs === undefined ? {} : { https }) };
  let shown = "";
  const print = (catalog: Catalog) => {
    const text = dryRun(catalog, render, ownPorts(options));
    if (text !== shown) process.stdout.write(text);
    shown = text;
    return !options.once;
  };
  const suspect = (why: string) => {
    log(`Consul: ${why}`);
  };
  return followCatalog(options.consul, print, { limited: options.once, suspect });
}

/** `explain`, `diff` and `snapshot`. */
async function inspect(command: Command, options: Options): Promise<void> {
  // A load balancer that listens on all addresses, the default, listens on the loopback address too.
  const anyAddress: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  const host = anyAddress[options.adminAddress] ?? options.adminAddress;
  const admin = `${bracketed(host)}:${options.adminPort}`;
  const printed = await runCommand(command, {
    routing: { reservedPorts: ownPorts(options) },
    render: renderOptions(options),
    catalog: () => catalogOnce(options.consul),
    admin,
    running: (question) => askRunning(admin, question),
  });
  process.stdout.write(printed);
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help")) {
    process.stdout.write(`${usage}\n`);
    return;
  }
  const command = parseCommand(argv);
  const options = parseArguments(command?.options ?? argv, process.env, availableParallelism());
  if (command !== undefined) await inspect(command, options);
  else if (options.dry) await dry(options);
  else await serve(options);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  // The usage text has several lines, which the log would join.
  if (error instanceof UserError) process.stderr.write(`switchyard: ${error.message}\n`);
  else log(messageOf(error));
  process.exit(1);
});
