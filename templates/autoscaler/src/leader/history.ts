/** The last changes of each service, and what became of them. */
import { mostChanges, type ScalingChange, type ScalingStatus } from "../../../../routing/scaling/status";
import { reasonSentence } from "../horizontal/reasons";
import type { Decision } from "../horizontal/types";

export class History {
  private readonly byService = new Map<string, ScalingChange[]>();
  private readonly failures = new Map<string, string>();
  private readonly counts = new Map<string, { up: number; down: number; turns: number; direction: number }>();

  /** Goes on from what an earlier leader has written. */
  resume(status: ScalingStatus): void {
    for (const { name, changes } of status.services) this.byService.set(name, [...changes]);
  }

  changed(service: string, decision: Decision, at: Date): void {
    this.failures.delete(service);
    const { from, to } = decision;
    const changes = this.of(service);
    const change = { at: at.toISOString(), from, to, reason: reasonSentence(decision) };
    this.byService.set(service, [...changes, change].slice(-mostChanges));
    const count = this.counts.get(service) ?? { up: 0, down: 0, turns: 0, direction: 0 };
    const direction = Math.sign(to - from);
    if (direction > 0) count.up++;
    else count.down++;
    if (count.direction === -direction) count.turns++;
    this.counts.set(service, { ...count, direction });
  }

  /** Whether a dry run would only repeat itself. */
  isSame(service: string, { from, to }: Decision): boolean {
    const last = this.of(service).at(-1);
    return last?.from === from && last.to === to;
  }

  failed(service: string, why: string): void {
    this.failures.set(service, why);
  }

  /** It has what it should have, whatever failed before. */
  settled(service: string): void {
    this.failures.delete(service);
  }

  of(service: string): readonly ScalingChange[] {
    return this.byService.get(service) ?? [];
  }

  failure(service: string): string | undefined {
    return this.failures.get(service);
  }

  /** How often it has grown, shrunk, and turned from one to the other, since this autoscaler started. */
  count(service: string): { readonly up: number; readonly down: number; readonly turns: number } {
    return this.counts.get(service) ?? { up: 0, down: 0, turns: 0 };
  }

  /** Forgets services that are gone. */
  keepOnly(services: ReadonlySet<string>): void {
    for (const map of [this.byService, this.failures, this.counts])
      for (const name of map.keys()) if (!services.has(name)) map.delete(name);
  }
}
