/** The renderer and HAProxy: wiring and signals. */
import { readFileSync } from "node:fs";
import { startAdmin } from "./admin/server";
import type { Options } from "./cli/options";
import { ownPorts, renderOptions } from "./cli/setup";
import { Consul } from "./consul/client";
import { showAddresses } from "./consul/options";
import { Watcher } from "./consul/watcher";
import { hardFileLimit } from "./haproxy/limits";
import { VersionHealth } from "./health/version-health";
import { Metrics } from "./metrics";
import { Controller } from "./reconcile/controller";
import { Reconciler } from "./reconcile/reconciler";
import { logLine } from "./reconcile/report";
import { CertificateWatcher } from "./tls/watcher";

export const log = (message: string): void => {
  process.stderr.write(logLine(message));
};

/** Runs until a signal ends the process. Rejects if the admin port or the certificates cannot be used. */
export async function serve(options: Options): Promise<void> {
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
    log(`${signal}: no new connections; open requests have up to ${options.stopGraceMs / 1000} s.`);
    watch.stop();
    versions.stop();
    void Promise.all([controller.stop(), reconciler.stop(options.stopGraceMs)]).finally(() => {
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
