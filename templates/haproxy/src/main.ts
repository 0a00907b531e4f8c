/** The image's entry point: a command that only looks, or the load balancer. */
import { writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { messageOf, UserError } from "../../../lib/errors";
import { hostPort } from "../../../lib/tcp";
import type { Catalog } from "../../../routing/types";
import { askRunning } from "./admin/client";
import { catalogOnce, followCatalog } from "./cli/catalog";
import { readPassword } from "./cli/credentials";
import { parseCommand, runCommand, type Command } from "./cli/commands";
import { dryRun } from "./cli/dry-run";
import { parseArguments, usage, type Options } from "./cli/options";
import { ownPorts, renderOptions } from "./cli/setup";
import { haproxyPaths } from "./haproxy/process";
import { log, write } from "./log";
import { serve } from "./renderer";
import type { RendererData } from "./supervisor/messages";
import { takeOver } from "./supervisor/handover";
import { Supervisor } from "./supervisor/supervisor";

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
  const admin = hostPort(host, options.adminPort);
  const printed = await runCommand(command, {
    routing: { reservedPorts: ownPorts(options) },
    render: renderOptions(options),
    catalog: () => catalogOnce(options.consul),
    admin,
    running: (question) => askRunning(admin, question),
  });
  process.stdout.write(printed);
}

/**
 * The load balancer, until a signal ends it or another one takes over. Its sockets are in a folder of their own, because the
 * one before it may still need its own.
 */
async function supervise(given: Options): Promise<void> {
  const handover = `${given.runDir}/handover.sock`;
  const predecessor = await takeOver(handover);
  const options = { ...given, runDir: `${given.runDir}/${Date.now().toString(36)}` };
  const { stateDir, runDir } = options;
  const paths = haproxyPaths(stateDir, runDir);
  if (predecessor === undefined) await rm(given.runDir, { recursive: true, force: true });
  const supervisor = new Supervisor({
    program: __filename,
    options,
    haproxy: paths,
    log,
    unusable: () => process.exit(1),
    handover,
    predecessor,
    // For the image's health check.
    serving: () => {
      writeFileSync("/dev/shm/serving", "");
    },
    drained: () => {
      log("All connections have ended.");
      void rm(runDir, { recursive: true, force: true }).finally(() => process.exit(0));
    },
  });
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log(`${signal}: no new connections; open requests have up to ${options.stopGraceMs / 1000} s.`);
    void supervisor.stop(options.stopGraceMs).finally(() => process.exit(0));
  };
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, stop);
  process.on("SIGUSR2", () => {
    supervisor.release();
  });
  supervisor.start();
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help")) {
    process.stdout.write(`${usage}\n`);
    return;
  }
  const command = parseCommand(argv);
  readPassword(process.env);
  const options = parseArguments(command?.options ?? argv, process.env, availableParallelism());
  if (command !== undefined) await inspect(command, options);
  else if (options.dry) await dry(options);
  else await supervise(options);
}

const run = () =>
  isMainThread || parentPort === null
    ? main(process.argv.slice(2))
    : serve(workerData as RendererData, parentPort);

run().catch((error: unknown) => {
  // The usage text has several lines, which the log would join.
  if (error instanceof UserError) write(`switchyard: ${error.message}\n`);
  else log(messageOf(error));
  process.exit(1);
});
