/** Counters of our own in Prometheus' text format. */

const convergenceBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

const quote = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

export class Metrics {
  private readonly reloads = new Map<string, number>();
  private readonly operations = new Map<string, number>();
  private readonly buckets = convergenceBuckets.map(() => 0);
  private convergences = 0;
  private convergenceSum = 0;
  private failures = 0;
  private drift = 0;

  reload(reason: string): void {
    this.reloads.set(reason, (this.reloads.get(reason) ?? 0) + 1);
  }

  operation(kind: string): void {
    this.operations.set(kind, (this.operations.get(kind) ?? 0) + 1);
  }

  failure(): void {
    this.failures++;
  }

  drifted(): void {
    this.drift++;
  }

  converged(seconds: number): void {
    this.convergences++;
    this.convergenceSum += seconds;
    convergenceBuckets.forEach((bound, index) => {
      if (seconds <= bound) this.buckets[index] = (this.buckets[index] ?? 0) + 1;
    });
  }

  /** `gauges` are what is true at the moment of asking, by name without prefix. */
  text(gauges: Readonly<Record<string, { readonly help: string; readonly value: number }>>): string {
    const lines: string[] = [];
    const family = (name: string, type: string, help: string, samples: readonly string[]) => {
      lines.push(`# HELP switchyard_${name} ${help}`, `# TYPE switchyard_${name} ${type}`);
      lines.push(...samples.map((sample) => `switchyard_${sample}`));
    };
    const counts = (name: string, label: string, values: ReadonlyMap<string, number>) =>
      [...values].map(([key, value]) => `${name}{${label}="${quote(key)}"} ${value}`);
    family(
      "reloads_total",
      "counter",
      "Reloads of HAProxy.",
      counts("reloads_total", "reason", this.reloads),
    );
    family(
      "operations_total",
      "counter",
      "Changes made to the running HAProxy without a reload.",
      counts("operations_total", "kind", this.operations),
    );
    family("apply_failures_total", "counter", "Changes that could not be applied.", [
      `apply_failures_total ${this.failures}`,
    ]);
    family("drift_corrections_total", "counter", "Differences found and put right in the running HAProxy.", [
      `drift_corrections_total ${this.drift}`,
    ]);
    family("convergence_seconds", "histogram", "From a change in Consul to HAProxy having it.", [
      ...convergenceBuckets.map(
        (bound, index) => `convergence_seconds_bucket{le="${bound}"} ${this.buckets[index] ?? 0}`,
      ),
      `convergence_seconds_bucket{le="+Inf"} ${this.convergences}`,
      `convergence_seconds_sum ${this.convergenceSum}`,
      `convergence_seconds_count ${this.convergences}`,
    ]);
    for (const [name, { help, value }] of Object.entries(gauges))
      family(name, "gauge", help, [`${name} ${value}`]);
    return `${lines.join("\n")}\n`;
  }
}
