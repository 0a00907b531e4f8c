/** The renderer: its parts, wired together. It runs in a thread of its own, see `supervisor/`. */
import { readFileSync } from "node:fs";
import type { MessagePort } from "node:worker_threads";
import { scalingKeys } from "../../../routing/scaling/keys";
import { startAdmin } from "./admin/server";
import { ownPorts, renderOptions } from "./cli/setup";
import { Consul } from "./consul/client";
import { Names } from "./consul/names";
import { showAddresses } from "./consul/options";
import { Watcher } from "./consul/watcher";
import { hardFileLimit } from "./haproxy/limits";
import { validate } from "./haproxy/validate";
import { VersionHealth } from "./health/version-health";
import { log } from "./log";
import { Metrics } from "./metrics";
import { Controller } from "./reconcile/controller";
import { Reconciler } from "./reconcile/reconciler";
import { wantedFolder } from "./config/hold";
import { Decisions } from "./scaling/decisions";
import { FiguresWriter } from "./scaling/figures-writer";
import { Leavers } from "./scaling/leavers";
import { Waker } from "./scaling/waker";
import { aliveMs, type FromRenderer, type RendererData, type ToRenderer } from "./supervisor/messages";
import { RemoteHaproxy } from "./supervisor/remote-haproxy";
import { AuthorityWatcher } from "./tls/authorities";
import { CertificateWatcher } from "./tls/watcher";

/** Runs until the main thread ends it. Rejects if the admin port or the certificates cannot be used. */
export async function serve(data: RendererData, mainThread: MessagePort): Promise<void> {
  const { options } = data;
  const tell = (message: FromRenderer) => {
    mainThread.postMessage(message);
  };
  setInterval(() => {
    tell({ kind: "alive" });
  }, aliveMs).unref();
  const metrics = new Metrics(data.restarts);
  const paths = renderOptions(options);
  const haproxy = new RemoteHaproxy(data.haproxy, tell);
  let stopping = false;
  const reconciler: Reconciler = new Reconciler({
    render: paths,
    predecessor: data.predecessor,
    haproxy,
    https: () => certificates?.https,
    authorities: () => authorities.authorities,
    log,
    metrics,
    onProven: () => {
      controller.changed();
    },
    onReplacing: () => {
      controller.replacing();
    },
    onReloadable: () => {
      controller.changed();
    },
  });
  const authorities = new AuthorityWatcher({
    source: options.authorities,
    dir: paths.dir,
    log,
    validate,
    changed: () => {
      controller.changed();
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
          listening: () => haproxy.ports,
          validate,
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
      authorities: () => authorities.usable,
      names: new Names({
        servers: options.dns,
        changed: () => {
          controller.changed();
        },
      }),
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
  const { node } = options;
  const sleeping = () => controller.routing?.sleeping ?? new Set<string>();
  const tellsAutoscaler = new Consul(options.consul);
  const waker =
    node === undefined
      ? undefined
      : new Waker({ dir: wantedFolder(paths.runDir), node, consul: tellsAutoscaler, sleeping, log });
  // With the PROXY protocol, the client that HAProxy knows is not the one that is connected.
  const leavers =
    node === undefined || options.proxyProtocol
      ? undefined
      : new Leavers({
          sleeping,
          held: () => reconciler.held(),
          waiting: () => reconciler.waiting(),
          end: (request) => reconciler.end(request),
          found: (services) => {
            for (const service of services) void waker?.wake(service);
          },
        });
  const figures =
    node === undefined
      ? undefined
      : new FiguresWriter({
          node,
          consul: tellsAutoscaler,
          values: () => (controller.synced ? (controller.catalog?.kv ?? {}) : {}),
          index: () => controller.appliedKvIndex,
          read: async () => ({ loads: await reconciler.loads(), held: await reconciler.held() }),
          log,
        });
  const decisions = new Decisions({
    consul: tellsAutoscaler,
    exists: () => node !== undefined && Object.hasOwn(controller.catalog?.kv ?? {}, scalingKeys.lock),
    log,
  });
  if (!options.stats) log("No statistics page: set STATS_USER and STATS_PASSWORD to have one.");

  await startAdmin(options.adminAddress, options.adminPort, {
    controller,
    metrics,
    states: () => reconciler.states(),
    proven: () => reconciler.proven,
    running: () => reconciler.running,
    stopping: () => stopping,
    watching: () => watch,
    findings: () => reconciler.findings,
    authorities: () => authorities.problems,
    scaling: () => decisions.latest(),
    ...(certificates === undefined ? {} : { https: () => certificates.report(Date.now()) }),
    metricsSocket: `${paths.runDir}/metrics.sock`,
  });
  const stop = async () => {
    stopping = true;
    watch.stop();
    versions.stop();
    for (const each of [figures, waker, leavers]) each?.stop();
    reconciler.stop();
    await controller.stop();
    tell({ kind: "stopped" });
  };
  mainThread.on("message", (message: ToRenderer) => {
    switch (message.kind) {
      case "stop":
        void stop();
        return;
      case "release":
        controller.retention.release();
        return;
      default:
        haproxy.receive(message);
        if (message.kind !== "restarted") return;
        reconciler.restarted();
        controller.restarted();
    }
  });

  await authorities.start();
  await certificates?.start();
  await controller.start();
  watch.start();
  versions.start();
  for (const each of [figures, waker, leavers]) each?.start();
  tell({ kind: "serving" });
  log(`watching Consul at ${showAddresses(options.consul)}; HTTP on port ${options.httpPort}.`);
}
