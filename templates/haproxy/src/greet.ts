/**
 * Brings a new instance up the moment it answers. HAProxy's own check of a server that is down comes round every 100 ms;
 * this one asks the same question every few milliseconds in the first seconds of an instance's life. It also tells which
 * instances have ever answered, which decides when a new version takes over.
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
/** For those that take longer than patience lasts. */
const slowPause = 500;
/** How many are asked in a hurry at a time. */
const mostAtOnce = 200;

/** The servers of a configuration that HAProxy does not call up. */
export function newcomers(
  rendered: Rendered,
  isNew: (backend: string, server: string) => boolean,
): Newcomer[] {
  const found: Newcomer[] = [];
  for (const { name: backend, options, servers } of rendered.backends)
    for (const { name: server, address, port } of servers)
      if (options !== undefined && isNew(backend, server))
        found.push({ backend, server, address, port, options });
  return found;
}

export interface GreeterEvents {
  /** It answers: HAProxy may send requests. */
  readonly answered: (newcomer: Newcomer) => Promise<void>;
  /** Whether it is still to be waited for. */
  readonly wanted: (newcomer: Newcomer) => boolean;
}

export class Greeter {
  private readonly waiting: Newcomer[] = [];
  private readonly greeting = new Set<string>();
  private hurried = 0;
  private readonly agent = new Agent({ keepAlive: false });

  constructor(private readonly events: GreeterEvents) {}

  greet(found: readonly Newcomer[]): void {
    for (const newcomer of found) {
      const key = `${newcomer.backend}/${newcomer.server}`;
      if (this.greeting.has(key)) continue;
      this.greeting.add(key);
      this.waiting.push(newcomer);
    }
    this.next();
  }

  private next(): void {
    while (this.hurried < mostAtOnce) {
      const newcomer = this.waiting.shift();
      if (newcomer === undefined) return;
      this.hurried++;
      void this.wait(newcomer)
        .catch(() => undefined)
        .finally(() => this.greeting.delete(`${newcomer.backend}/${newcomer.server}`));
    }
  }

  private async wait(newcomer: Newcomer): Promise<void> {
    const answered =
      (await this.poll(newcomer, Date.now() + patience).finally(() => {
        this.hurried--;
        this.next();
      })) || (await this.poll(newcomer, Infinity));
    if (answered) await this.events.answered(newcomer);
  }

  private async poll(newcomer: Newcomer, until: number): Promise<boolean> {
    const hurry = until !== Infinity;
    for (let pause = hurry ? firstPause : slowPause; Date.now() < until;) {
      if (!this.events.wanted(newcomer)) return false;
      if (await this.answers(newcomer)) return true;
      await sleep(pause, undefined, { ref: false });
      if (hurry) pause = Math.min(pause * 1.2, longestPause);
    }
    return false;
  }

  private answers({ address, port, options }: Newcomer): Promise<boolean> {
    return options.kind === "tcp" || options.h2c
      ? listens(address, port)
      : this.healthy(address, port, options);
  }

  /** Must agree with the `http-check` lines of shapes.ts. */
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
