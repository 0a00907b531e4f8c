/** The container's process: options, wiring, signals. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Catalog } from "../../../routing/types";
import { startAdmin } from "./admin/server";
import { Reconciler } from "./reconcile/reconciler";
import { Consul } from "./consul/client";
import { showAddresses } from "./consul/options";
import { Controller } from "./reconcile/controller";
import { parseCommand, runCommand, type Command } from "./cli/commands";
import { askRunning } from "./admin/client";
import { hardFileLimit } from "./haproxy/limits";
import { Metrics } from "./metrics";
import { parseArguments, usage, UsageError, type Options } from "./cli/options";
import { dryRun } from "./config/dry-run";
import type { RenderOptions } from "./config/types";
import { logLine } from "./reconcile/report";
import { bracketed } from "./config/syntax";
import { CertificateWatcher } from "./tls/watcher";
import { VersionHealth } from "./health/version-health";
import { Watcher } from "./consul/watcher";

const log = (message: string): void => {
  process.stderr.write(logLine(message));
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
    ...(options.trusted.length === 0 ? {} : { trusted: options.trusted }),
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
    ...options.consul.addresses.map(({ port }): [number, string] => [port, "Consul"]),
    ...(options.certs === undefined
      ? []
      : [[options.httpsPort, "the load balancer's HTTPS frontend"] as const]),
  ]);

function dry(options: Options): void {
  const consul = new Consul(options.consul);
  let shown = "";
  const patience = setTimeout(() => {
    if (!options.once) return;
    log(`Consul at ${showAddresses(options.consul)} gave no full answer within ${dryPatience / 1000} s.`);
    process.exit(1);
  }, dryPatience);
  patience.unref();
  const watch = new Watcher(consul, {
    changed: () => {
      const catalog = watch.catalog();
      if (catalog === undefined) return;
      const https = { port: options.httpsPort, redirect: options.redirectHttps };
      const how = { ...renderOptions(options), ...(options.certs === undefined ? {} : { https }) };
      const text = dryRun(catalog, how, ownPorts(options));
      if (text !== shown) process.stdout.write(text);
      shown = text;
      if (options.once) watch.stop();
    },
    suspect: (why) => {
      log(`Consul: ${why}`);
    },
    back: () => undefined,
  });
  watch.start();
}

/** What Consul has now, for the commands that only look. */
function catalogOnce(options: Options): Promise<Catalog> {
  return new Promise((resolve, reject) => {
    let doubt = "";
    const finish = (result: Catalog | undefined) => {
      clearTimeout(patience);
      watch.stop();
      if (result !== undefined) resolve(result);
      else
        reject(
          new UsageError(
            `Consul at ${showAddresses(options.consul)} gave no full answer within ${dryPatience / 1000} s${doubt}. Set --consul, or use --snapshot.`,
          ),
        );
    };
    const watch = new Watcher(new Consul(options.consul), {
      changed: () => {
        const catalog = watch.catalog();
        if (catalog !== undefined) finish(catalog);
      },
      suspect: (why) => {
        doubt = ` (${why})`;
      },
      back: () => undefined,
    });
    const patience = setTimeout(() => {
      finish(undefined);
    }, dryPatience);
    watch.start();
  });
}

async function inspect(command: Command, options: Options): Promise<void> {
  // Where it listens on all addresses, as by default, this one is among them.
  const anyAddress: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  const host = anyAddress[options.adminAddress] ?? options.adminAddress;
  const admin = `${bracketed(host)}:${options.adminPort}`;
  const printed = await runCommand(command, {
    routing: { reservedPorts: ownPorts(options) },
    render: renderOptions(options),
    catalog: () => catalogOnce(options),
    admin,
    running: (question) => askRunning(admin, question),
  });
  process.stdout.write(printed);
}

async function serve(options: Options): Promise<void> {
  const metrics = new Metrics();
  const paths = renderOptions(options);
  let stopping = false;
  const reconciler: Reconciler = new Reconciler({
    render: paths,
    https: () => certificates?.https,
    log,
    metrics,
    onProven: () => {
      controller.changed();
    },
    onReloadable: () => {
      controller.changed();
    },
    onRestart: () => {
      controller.restarted();
    },
  });
  const certificates =
    options.certs === undefined
      ? undefined
      : new CertificateWatcher({
          source: options.certs,
          dir: paths.dir,
          port: options.httpsPort,
          redirect: options.redirectHttps,
          log,
          validate: (config) => reconciler.validate(config),
          apply: async (write, changes, reasons) => {
            await reconciler.useCertificates(write, changes, reasons);
            controller.changed();
          },
        });
  const controller: Controller = new Controller(
    {
      ownPorts: ownPorts(options),
      maxFiles: hardFileLimit(readFileSync("/proc/self/limits", "utf8")),
      retentionMs: options.retentionMs,
      retentionShare: options.retentionShare,
      snapshot: `${options.stateDir}/snapshot.json`,
      log,
      metrics,
      down: () => versions.down,
    },
    reconciler,
    () => watch,
  );
  const versions: VersionHealth = new VersionHealth({
    routing: () => controller.routing,
    proven: reconciler.proven,
    states: (backends) => reconciler.states(backends),
    changed: () => {
      controller.changed();
    },
  });
  const watch = new Watcher(new Consul(options.consul), {
    changed: () => {
      controller.changed();
    },
    suspect: (why) => {
      controller.retention.suspect(why);
    },
    back: () => {
      controller.retention.back();
    },
    advanced: () => {
      controller.advanced();
    },
    done: () => controller.done(),
    noticed: log,
  });
  if (!options.stats) log("No statistics page: set STATS_USER and STATS_PASSWORD to have one.");

  const admin = await startAdmin(options.adminAddress, options.adminPort, {
    controller,
    metrics,
    states: () => reconciler.states(),
    proven: () => reconciler.proven,
    running: () => reconciler.running,
    stopping: () => stopping,
    watching: () => watch,
    ...(certificates === undefined ? {} : { https: () => certificates.report(Date.now()) }),
    metricsSocket: `${paths.runDir}/metrics.sock`,
  });
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log(`${signal}: no new connections; open requests have up to ${options.stopGrace / 1000} s.`);
    watch.stop();
    versions.stop();
    void Promise.all([controller.stop(), reconciler.stop(options.stopGrace)]).finally(() => {
      admin.close();
      process.exit(0);
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("SIGUSR2", () => {
    controller.retention.release();
  });
  // A mistake in handling one change must not take the traffic of all services with it.
  process.on("uncaughtException", (error) => {
    log(`Unexpected: ${error.stack ?? error.message}`);
  });
  process.on("unhandledRejection", (reason) => {
    log(`Unexpected: ${String(reason)}`);
  });

  await certificates?.start();
  await controller.start();
  watch.start();
  versions.start();
  log(`watching Consul at ${showAddresses(options.consul)}; HTTP on port ${options.httpPort}.`);
}

try {
  const argv = process.argv.slice(2);
  const help = argv.includes("--help");
  const command = help ? undefined : parseCommand(argv);
  const options = parseArguments(help ? [] : (command?.options ?? argv), process.env, availableParallelism());
  if (help) process.stdout.write(`${usage}\n`);
  else if (command !== undefined)
    inspect(command, options).catch((error: unknown) => {
      log(error instanceof UsageError ? error.message : String(error));
      process.exitCode = 1;
    });
  else if (options.dry) dry(options);
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
