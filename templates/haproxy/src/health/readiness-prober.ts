/**
 * Finds the moment a new instance answers. HAProxy checks a server that is down every 100 ms at best; the prober asks
 * the same question every few milliseconds in the first seconds of an instance's life. It also learns which instances
 * have ever answered, which decides when a new version takes over.
 */
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { checkAgent, healthyStatus } from "../../../../routing/options/health-path";
import type { ServiceOptions } from "../../../../routing/types";
import type { Rendered } from "../config/types";
import { listens } from "../../../../lib/tcp";
import { Budget } from "./budget";

/** A server that has not been seen to answer yet. */
export interface Candidate {
  readonly backend: string;
  readonly server: string;
  readonly address: string;
  readonly port: number;
  readonly options: ServiceOptions;
}

const answerTimeoutMs = 2_000;
/** How long a candidate is probed eagerly; one that takes longer to start is probed every `slowPauseMs`. */
const eagerMs = 5_000;
const firstPauseMs = 5;
const longestPauseMs = 50;
const slowPauseMs = 500;
/** Candidates that get their first question at the same time. */
const mostFirstQuestions = 200;
/** Questions a second after the first one, for all candidates together. HAProxy's own checks are as many at most. */
const eagerPerSecond = 100;
const eagerBurst = 50;
const slowPerSecond = 50;

/** The servers of a configuration that HAProxy does not consider up. */
export function candidatesOf(
  rendered: Rendered,
  isNew: (backend: string, server: string) => boolean,
): Candidate[] {
  const found: Candidate[] = [];
  for (const { name: backend, options, servers } of rendered.backends)
    for (const { name: server, address, port } of servers)
      if (options !== undefined && isNew(backend, server))
        found.push({ backend, server, address, port, options });
  return found;
}

export const serverOf = ({ backend, server }: Pick<Candidate, "backend" | "server">): string =>
  `${backend}/${server}`;

export interface ProberEvents {
  /** The candidate answers: HAProxy may send it requests. */
  readonly answered: (candidate: Candidate) => Promise<void>;
  /** Whether the candidate still matters. */
  readonly wanted: (candidate: Candidate) => boolean;
}

interface Probe {
  readonly candidate: Candidate;
  readonly answered: () => void | Promise<void>;
  /** The first question has been answered, or was not needed. */
  readonly asked: () => void;
}

export interface ProberOptions {
  /** How long `firstAnswers` waits. Default: 5 ms. */
  readonly graceMs?: number;
  /** Default: 5 seconds. */
  readonly eagerMs?: number;
}

export class ReadinessProber {
  private readonly waiting: Probe[] = [];
  /** Servers that are being probed. */
  private readonly probed = new Set<string>();
  private firstQuestions = 0;
  private readonly eager = new Budget(eagerPerSecond, eagerBurst);
  private readonly slow = new Budget(slowPerSecond, 1);
  private readonly graceMs: number;
  private readonly eagerMs: number;

  constructor(
    private readonly events: ProberEvents,
    options: ProberOptions = {},
  ) {
    this.graceMs = options.graceMs ?? 5;
    this.eagerMs = options.eagerMs ?? eagerMs;
  }

  /** Probes candidates until they answer or are no longer wanted. */
  probe(candidates: readonly Candidate[]): void {
    for (const candidate of candidates)
      this.take({ candidate, answered: () => this.events.answered(candidate), asked: () => undefined });
    this.next();
  }

  /**
   * Probes candidates, and returns those that answer within the grace period: a change can then add them to HAProxy as
   * up. Only the others cause an `answered` event.
   */
  async firstAnswers(candidates: readonly Candidate[]): Promise<readonly Candidate[]> {
    const ready: Candidate[] = [];
    let over = false;
    const asked = candidates.map(
      (candidate) =>
        new Promise<void>((resolve) => {
          const answered = () => {
            if (over) return this.events.answered(candidate);
            ready.push(candidate);
          };
          this.take({ candidate, answered, asked: resolve });
        }),
    );
    this.next();
    await Promise.race([Promise.all(asked), sleep(this.graceMs)]);
    over = true;
    return ready;
  }

  private take(probe: Probe): void {
    const key = serverOf(probe.candidate);
    if (this.probed.has(key)) {
      probe.asked();
      return;
    }
    this.probed.add(key);
    this.waiting.push(probe);
  }

  private next(): void {
    while (this.firstQuestions < mostFirstQuestions) {
      const probe = this.waiting.shift();
      if (probe === undefined) return;
      this.firstQuestions++;
      void this.follow(probe)
        .catch(() => undefined)
        .finally(() => this.probed.delete(serverOf(probe.candidate)));
    }
  }

  /** From the first question to the answer. */
  private async follow(probe: Probe): Promise<void> {
    const { candidate, answered, asked } = probe;
    const start = performance.now();
    const first = await this.answers(candidate).finally(() => {
      this.firstQuestions--;
      this.next();
    });
    if (first) await answered();
    asked();
    if (!first && (await this.repeat(candidate, start + this.eagerMs))) await answered();
  }

  /** Asks again and again; false once the candidate is no longer wanted. */
  private async repeat(candidate: Candidate, eagerUntil: number): Promise<boolean> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.2, longestPauseMs)) {
      const isEager = performance.now() < eagerUntil;
      await sleep(isEager ? pauseMs : slowPauseMs, undefined, { ref: false });
      const budget = isEager ? this.eager : this.slow;
      if (!(await budget.take(() => this.events.wanted(candidate)))) return false;
      if (await this.answers(candidate)) return true;
    }
  }

  private async answers(candidate: Candidate): Promise<boolean> {
    const { address, port, options } = candidate;
    if (!this.events.wanted(candidate)) return false;
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
    const socket = createConnection({ host: address, port, timeout: answerTimeoutMs }).setEncoding("latin1");
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
