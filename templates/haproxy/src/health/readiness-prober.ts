/**
 * Finds out the moment a new instance answers. HAProxy's own check of a server that is down comes round every 100 ms; this
 * one asks the same question every few milliseconds in the first seconds of an instance's life. It also tells which
 * instances have ever answered, which decides when a new version takes over.
 */
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceOptions } from "../../../../routing/types";
import type { Rendered } from "../config/types";
import { listens } from "../../../../lib/tcp";
import { checkAgent, healthyStatus } from "../../../../routing/options/health-path";

export interface Newcomer {
  readonly backend: string;
  readonly server: string;
  readonly address: string;
  readonly port: number;
  readonly options: ServiceOptions;
}

const patience = 5_000;
/** Of a single question. */
const answerPatience = 2_000;
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

export const serverOf = ({ backend, server }: Pick<Newcomer, "backend" | "server">): string =>
  `${backend}/${server}`;

export interface GreeterEvents {
  /** It answers: HAProxy may send requests. */
  readonly answered: (newcomer: Newcomer) => Promise<void>;
  /** Whether it is still to be waited for. */
  readonly wanted: (newcomer: Newcomer) => boolean;
}

interface Guest {
  readonly newcomer: Newcomer;
  readonly answered: () => void | Promise<void>;
  /** It has been asked once; called any number of times. */
  readonly asked: () => void;
}

export class Greeter {
  private readonly waiting: Guest[] = [];
  private readonly greeting = new Set<string>();
  private hurried = 0;

  constructor(
    private readonly events: GreeterEvents,
    /** Milliseconds that a change may wait for the first answers of those that come with it. */
    private readonly courtesy = 5,
  ) {}

  greet(found: readonly Newcomer[]): void {
    for (const newcomer of found)
      this.take({ newcomer, answered: () => this.events.answered(newcomer), asked: () => undefined });
    this.next();
  }

  /**
   * As `greet`, but answers within a moment with those that are there already, which no event tells of: with them, a
   * change can bring them into HAProxy already up.
   */
  async welcome(found: readonly Newcomer[]): Promise<readonly Newcomer[]> {
    const here: Newcomer[] = [];
    let over = false;
    const asked = found.map(
      (newcomer) =>
        new Promise<void>((resolve) => {
          const answered = () => {
            if (over) return this.events.answered(newcomer);
            here.push(newcomer);
          };
          this.take({ newcomer, answered, asked: resolve });
        }),
    );
    this.next();
    await Promise.race([Promise.all(asked), sleep(this.courtesy)]);
    over = true;
    return here;
  }

  private take(guest: Guest): void {
    const key = serverOf(guest.newcomer);
    if (this.greeting.has(key)) {
      guest.asked();
      return;
    }
    this.greeting.add(key);
    this.waiting.push(guest);
  }

  private next(): void {
    while (this.hurried < mostAtOnce) {
      const guest = this.waiting.shift();
      if (guest === undefined) return;
      this.hurried++;
      void this.wait(guest)
        .catch(() => undefined)
        .finally(() => this.greeting.delete(serverOf(guest.newcomer)));
    }
  }

  private async wait(guest: Guest): Promise<void> {
    const answered =
      (await this.poll(guest, Date.now() + patience).finally(() => {
        this.hurried--;
        this.next();
      })) || (await this.poll(guest, Infinity));
    if (answered) await guest.answered();
    guest.asked();
  }

  private async poll({ newcomer, asked }: Guest, until: number): Promise<boolean> {
    const hurry = until !== Infinity;
    for (let pause = hurry ? firstPause : slowPause; Date.now() < until;) {
      if (!this.events.wanted(newcomer)) return false;
      if (await this.answers(newcomer)) return true;
      asked();
      await sleep(pause, undefined, { ref: false });
      if (hurry) pause = Math.min(pause * 1.2, longestPause);
    }
    return false;
  }

  private answers({ address, port, options }: Newcomer): Promise<boolean> {
    return options.kind === "tcp" || options.h2c ? listens(address, port) : isHealthy(address, port, options);
  }
}

const statusLength = "HTTP/1.1 200".length;
const statusLine = /^HTTP\/1\.[01] (\d{3})/;

/** Asks what HAProxy's check asks. */
function isHealthy(address: string, port: number, { healthPath, host }: ServiceOptions): Promise<boolean> {
  const question = [
    healthPath === undefined ? "HEAD / HTTP/1.1" : `GET ${healthPath} HTTP/1.1`,
    `Host: ${host ?? "localhost"}`,
    `User-Agent: ${checkAgent}`,
    "Connection: close",
  ];
  const healthy = healthyStatus(healthPath !== undefined).split(",");
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port, timeout: answerPatience }).setEncoding("latin1");
    let answer = "";
    const end = () => {
      socket.destroy();
      const status = Number(statusLine.exec(answer)?.[1]);
      resolve(healthy.some((range) => isWithin(status, range)));
    };
    socket.on("data", (chunk: string) => {
      answer += chunk;
      if (answer.length >= statusLength) end();
    });
    for (const event of ["error", "timeout", "close"]) socket.on(event, end);
    socket.write(question.map((line) => `${line}\r\n`).join("") + "\r\n");
  });
}

/** `range`: a status, or two with `-` between them. */
function isWithin(status: number, range: string): boolean {
  const [from = NaN, to = from] = range.split("-").map(Number);
  return from <= status && status <= to;
}
