/** The container's process: options, wiring, signals. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { startAdmin } from "./admin";
import { Applier } from "./apply";
import { Consul } from "./consul";
import { Controller, dryRun } from "./controller";
import { Metrics } from "./metrics";
import { parseArguments, UsageError, type Options } from "./options";
import type { RenderOptions } from "./render";
import { Watch } from "./watch";

const log = (message: string): void => {
  // One line each, whatever is in it.
  process.stderr.write(`switchyard: ${message.replaceAll(/[\r\n]+/g, " | ")}\n`);
};

const dryPatience = 10_000;

function renderOptions(options: Options): RenderOptions {
  return {
    httpPort: options.httpPort,
    ...(options.stats ? { statsPort: options.statsPort } : {}),
    threads: options.threads,
    dir: options.stateDir,
    runDir: `${options.stateDir}/run`,
    ipv6: hasIpv6(),
  };
}

function hasIpv6(): boolean {
  const file = "/proc/net/if_inet6";
  return existsSync(file) && readFileSync(file, "utf8").trim() !== "";
}

const ownPorts = (options: Options): Map<number, string> =>
  new Map([
    [options.httpPort, "the load balancer's HTTP frontend"],
    [options.statsPort, "the statistics page"],
    [options.adminPort, "the admin port"],
    [options.consulPort, "Consul"],
  ]);

function dry(options: Options): void {
  const consul = new Consul(options.consulHost, options.consulPort, options.consulToken);
  let shown = "";
  const patience = setTimeout(() => {
    if (!options.once) return;
    log(
      `Consul at ${options.consulHost}:${options.consulPort} gave no full answer within ${dryPatience / 1000} s.`,
    );
    process.exit(1);
  }, dryPatience);
  patience.unref();
  const watch = new Watch(consul, {
    changed: () => {
      const catalog = watch.catalog();
      if (catalog === undefined) return;
      const text = dryRun(catalog, renderOptions(options), ownPorts(options));
      if (text !== shown) process.stdout.write(text);
      shown = text;
      if (options.once) watch.stop();
    },
    doubted: (why) => {
      log(`Consul: ${why}`);
    },
    back: () => undefined,
  });
  watch.start();
}

async function serve(options: Options): Promise<void> {
  const metrics = new Metrics();
  const paths = renderOptions(options);
  let stopping = false;
  const applier: Applier = new Applier({
    render: paths,
    log,
    metrics,
    onProven: () => {
      controller.changed();
    },
    onRestart: () => {
      controller.restarted();
    },
  });
  const controller: Controller = new Controller(
    {
      ownPorts: ownPorts(options),
      holdTime: options.holdTime,
      snapshot: `${options.stateDir}/snapshot.json`,
      log,
      metrics,
    },
    applier,
    () => watch,
  );
  const watch = new Watch(new Consul(options.consulHost, options.consulPort, options.consulToken), {
    changed: () => {
      controller.changed();
    },
    doubted: (why) => {
      controller.doubt(why);
    },
    back: () => {
      log("Consul answers again.");
    },
  });
  if (!options.stats) log("No statistics page: set STATS_USER and STATS_PASSWORD to have one.");

  const admin = await startAdmin(options.adminAddress, options.adminPort, {
    controller,
    metrics,
    states: () => applier.states(),
    proven: () => applier.proven,
    running: () => applier.running,
    stopping: () => stopping,
    watching: () => watch,
    metricsSocket: `${paths.runDir}/metrics.sock`,
  });
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log(`${signal}: no new connections; open requests have up to ${options.stopGrace / 1000} s.`);
    watch.stop();
    void Promise.all([controller.stop(), applier.stop(options.stopGrace)]).finally(() => {
      admin.close();
      process.exit(0);
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  // A mistake in handling one change must not take the traffic of all services with it.
  process.on("uncaughtException", (error) => {
    log(`Unexpected: ${error.stack ?? error.message}`);
  });
  process.on("unhandledRejection", (reason) => {
    log(`Unexpected: ${String(reason)}`);
  });

  await controller.start();
  watch.start();
  log(`watching Consul at ${options.consulHost}:${options.consulPort}; HTTP on port ${options.httpPort}.`);
}

try {
  const options = parseArguments(process.argv.slice(2), process.env, availableParallelism());
  if (options.dry) dry(options);
  else
    serve(options).catch((error: unknown) => {
      log(error instanceof Error ? error.message : String(error));
      process.exit(1);
    });
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`switchyard: ${error.message}\n`);
  process.exit(1);
}
