/**
 * Brings a new instance up the moment it answers. HAProxy's own check of a server that is down comes round every 100 ms;
 * this one asks the same question every few milliseconds, for the first seconds of an instance's life only.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceOptions } from "../../../model/meta";
import type { Rendered } from "./render";
import { listens } from "./probe";

export interface Newcomer {
  readonly backend: string;
  readonly server: string;
  readonly address: string;
  readonly port: number;
  readonly options: ServiceOptions;
}

const patience = 5_000;
const firstPause = 5;
const longestPause = 50;
/** Beyond this many at a time HAProxy's own checks are left to it. */
const mostAtOnce = 200;

/** The servers of a configuration that HAProxy does not call up. */
export function newcomers(rendered: Rendered, up: ReadonlySet<string>): Newcomer[] {
  return rendered.backends.flatMap(({ name: backend, options, servers }) =>
    options === undefined
      ? []
      : servers
          .filter((server) => !up.has(`${backend}/${server.name}`))
          .map(({ name: server, address, port }) => ({ backend, server, address, port, options })),
  );
}

export class Greeter {
  private readonly greeting = new Set<string>();
  private readonly agent = new Agent({ keepAlive: false });

  constructor(private readonly bringUp: (newcomer: Newcomer) => Promise<void>) {}

  greet(found: readonly Newcomer[]): void {
    for (const newcomer of found) {
      const key = `${newcomer.backend}/${newcomer.server}`;
      // HTTP/2 without TLS is left to HAProxy's check.
      if (newcomer.options.h2c || this.greeting.has(key) || this.greeting.size >= mostAtOnce) continue;
      this.greeting.add(key);
      void this.wait(newcomer)
        .catch(() => undefined)
        .finally(() => this.greeting.delete(key));
    }
  }

  private async wait(newcomer: Newcomer): Promise<void> {
    const until = Date.now() + patience;
    for (let pause = firstPause; Date.now() < until; pause = Math.min(pause * 1.2, longestPause)) {
      if (await this.answers(newcomer)) {
        await this.bringUp(newcomer);
        return;
      }
      await sleep(pause, undefined, { ref: false });
    }
  }

  private answers({ address, port, options }: Newcomer): Promise<boolean> {
    return options.kind === "tcp" ? listens(address, port) : this.healthy(address, port, options);
  }

  /** Must agree with the `http-check` lines of sections.ts. */
  private healthy(address: string, port: number, { healthPath, host }: ServiceOptions): Promise<boolean> {
    return new Promise((resolve) => {
      const sent = request(
        {
          host: address,
          port,
          agent: this.agent,
          method: healthPath === undefined ? "HEAD" : "GET",
          path: healthPath ?? "/",
          headers: { Host: host ?? "localhost", "User-Agent": "switchyard-health-check" },
          timeout: 2_000,
        },
        (response) => {
          const status = response.statusCode ?? 0;
          response.destroy();
          resolve(
            healthPath === undefined
              ? (status >= 200 && status < 500) || status === 501
              : status >= 200 && status < 400,
          );
        },
      );
      sent.on("timeout", () => sent.destroy());
      sent.on("error", () => {
        resolve(false);
      });
      sent.end();
    });
  }
}
