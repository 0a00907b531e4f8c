/**
 * Finds the moment a new instance answers. HAProxy checks a server that is down every 100 ms at best; the prober asks
 * the same question every few milliseconds in the first seconds of an instance's life. It also learns which instances
 * have ever answered, which decides when a new version takes over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Authorities } from "../config/authorities";
import type { Rendered } from "../config/types";
import { Budget } from "./budget";
import { ask, findTls, type Answer, type Asked } from "./question";

/** A server that has not been seen to answer yet. */
export interface Candidate extends Asked {
  readonly backend: string;
  readonly server: string;
}

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
    for (const { name: server, address, port, hostname } of servers)
      if (options !== undefined && isNew(backend, server))
        found.push({ backend, server, address, port, hostname, options });
  return found;
}

export const serverOf = ({ backend, server }: Pick<Candidate, "backend" | "server">): string =>
  `${backend}/${server}`;

export interface ProberEvents {
  /** The candidate answers: HAProxy may send it requests. */
  readonly answered: (candidate: Candidate) => Promise<void>;
  /** What is wrong with a candidate that does not answer as it should. The rest of a sentence that starts with it. */
  readonly found?: (candidate: Candidate, finding: string) => void;
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
  /** The authorities that may have signed the certificates of instances. */
  readonly authorities?: () => Authorities;
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
  private readonly authorities: () => Authorities;

  constructor(
    private readonly events: ProberEvents,
    options: ProberOptions = {},
  ) {
    this.graceMs = options.graceMs ?? 5;
    this.eagerMs = options.eagerMs ?? eagerMs;
    this.authorities = options.authorities ?? (() => new Map());
  }

  /** Probes candidates until they answer or are no longer wanted. */
  probe(candidates: readonly Candidate[]): void {
    for (const candidate of candidates)
      this.take({ candidate, answered: () => this.events.answered(candidate), asked: () => undefined });
    this.next();
  }

  /**
   * Probes candidates, and returns those that answer within the grace period: a change can then add them to HAProxy as
   * up. Only the others cause an `answered` event. Settles at once when all have been asked.
   */
  async firstAnswers(
    candidates: readonly Candidate[],
    graceMs = this.graceMs,
  ): Promise<readonly Candidate[]> {
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
    await Promise.race([Promise.all(asked), sleep(graceMs)]);
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
    const { healthy: first } = await this.ask(candidate).finally(() => {
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
      const { healthy, mayBeTls } = await this.ask(candidate);
      if (healthy) return true;
      if (mayBeTls === true && !isEager && (await budget.take(() => this.events.wanted(candidate))))
        this.report(candidate, await findTls(candidate));
    }
  }

  private async ask(candidate: Candidate): Promise<Answer> {
    if (!this.events.wanted(candidate)) return { healthy: false };
    const answer = await ask(candidate, this.authorities());
    this.report(candidate, answer.finding);
    return answer;
  }

  private report(candidate: Candidate, finding: string | undefined): void {
    if (finding !== undefined) this.events.found?.(candidate, finding);
  }
}
