/** Which servers have answered, and what is wrong with those that do not. */
import { parseVersion } from "../../../../routing/grammar";
import type { Authorities } from "../config/authorities";
import type { Origin, Rendered } from "../config/types";
import { ReadinessProber, candidatesOf, serverOf, type Candidate } from "../health/readiness-prober";

/** HAProxy's own check asks an HTTP/2 server for more than whether it accepts connections, which is all the prober asks. */
const isFullCheck = ({ options }: Candidate): boolean => options.proto !== "h2c";

export type Names = Pick<Candidate, "backend" | "server">;

/** The worker whose servers are probed. */
export interface ProbedWorker {
  /** Whether it has the server, and the server is not leaving. */
  readonly serves: (server: Names) => boolean;
  /** What the routing calls a server of the worker. */
  readonly originOf: (server: Names) => Origin;
  /** Settles when the turn that is under way has. */
  readonly settled: () => Promise<unknown>;
  /** Tells the worker that a server is healthy. */
  readonly healthy: (backend: string, server: string) => Promise<void>;
  readonly authorities: () => Authorities;
  /** Another server has answered, which may decide which version gets the requests. */
  readonly onProven: () => void;
}

/** Servers that have answered their first question. */
export interface FirstAnswers {
  readonly answering: readonly Candidate[];
  /** Those of them (`backend/server`) that HAProxy may take for healthy. */
  readonly up: ReadonlySet<string>;
}

export class Readiness {
  /** Servers (`backend/server`, as in the routing) that have answered. */
  readonly proven = new Set<string>();
  /** What is wrong with servers (as in the routing) that do not answer as they should. */
  readonly findings = new Map<string, string>();
  private readonly prober: ReadinessProber;
  /** Servers that the worker is about to get. */
  private arriving: ReadonlySet<string> = new Set();

  constructor(private readonly worker: ProbedWorker) {
    this.prober = new ReadinessProber(
      {
        answered: (candidate) => this.answered(candidate),
        found: (candidate, finding) => {
          this.findings.set(serverOf(worker.originOf(candidate)), finding);
        },
        wanted: (candidate) => this.arriving.has(serverOf(candidate)) || worker.serves(candidate),
      },
      { authorities: worker.authorities },
    );
  }

  /** Gives those of the servers that are `isNew` a moment to answer before the worker gets them. */
  async firstAnswers(
    rendered: Rendered,
    isNew: (backend: string, server: string) => boolean,
    graceMs?: number,
  ): Promise<FirstAnswers> {
    const candidates = candidatesOf(rendered, isNew);
    this.arriving = new Set(candidates.map(serverOf));
    const answering = await this.prober.firstAnswers(candidates, graceMs);
    return { answering, up: new Set(answering.filter(isFullCheck).map(serverOf)) };
  }

  /** The servers that were arriving have arrived, or never will. */
  arrived(): void {
    this.arriving = new Set();
  }

  /** Probes the servers that are not `up` until they answer or are no longer wanted. */
  probe(rendered: Rendered, up: ReadonlySet<string>): void {
    this.prober.probe(candidatesOf(rendered, (backend, server) => !up.has(serverOf({ backend, server }))));
  }

  /** Those of the candidates that the worker serves have answered. */
  prove(candidates: readonly Candidate[]): void {
    for (const candidate of candidates) {
      if (!this.worker.serves(candidate)) continue;
      const origin = this.worker.originOf(candidate);
      this.proven.add(serverOf(origin));
      this.findings.delete(serverOf(origin));
      // Only among versions does it decide which one gets the requests.
      if (parseVersion(origin.service) !== undefined) this.worker.onProven();
    }
  }

  /** A server that comes back has to prove again that it answers. */
  forget(server: string): void {
    this.proven.delete(server);
    this.findings.delete(server);
  }

  /** Forgets all servers but those `wanted` (as in the routing). */
  keep(wanted: ReadonlySet<string>): void {
    for (const server of [...this.proven, ...this.findings.keys()])
      if (!wanted.has(server)) this.forget(server);
  }

  private async answered(candidate: Candidate): Promise<void> {
    const { backend, server } = candidate;
    await this.worker.settled();
    if (!this.worker.serves(candidate)) return;
    if (isFullCheck(candidate)) await this.worker.healthy(backend, server);
    this.prove([candidate]);
  }
}
