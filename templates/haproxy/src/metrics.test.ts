import { describe, expect, test } from "vitest";
import { Metrics, type Observed } from "./metrics";
import { expositionProblems } from "./testing";

const observed = (lastAnswer: string | null = "1970-01-01T00:00:01.000Z"): Observed => ({
  ready: true,
  pending: [],
  consul: { connected: true, index: 7, lastAnswer },
  routes: ["/a"],
  tcp: [],
  services: [{ instances: [{ state: "up" }, { state: "leaving" }], critical: [] }],
  leaving: ["10.0.0.1:9"],
  held: [],
  quarantined: ["a b", "b.pem"],
  unrouted: ["c"],
  warnings: [],
  certificates: [{ name: "a.pem", expires: "2027-01-15T08:00:00.000Z" }],
});

const samples = (text: string) => text.split("\n").filter((line) => !line.startsWith("#"));

describe("our metrics", () => {
  test("follow the exposition format", () => {
    const metrics = new Metrics();
    metrics.reload("recovery");
    metrics.operation("add");
    metrics.converged(0.007);
    expect(expositionProblems(metrics.text(observed(), 3_000))).toEqual([]);
    expect(expositionProblems(metrics.text(observed(null), 3_000))).toEqual([]);
  });

  test("show the current state", () => {
    const lines = samples(new Metrics().text(observed(), 3_000));
    for (const expected of [
      "switchyard_ready 1",
      "switchyard_routes 1",
      "switchyard_services 1",
      'switchyard_instances{state="up"} 1',
      'switchyard_instances{state="down"} 0',
      'switchyard_instances{state="leaving"} 2',
      "switchyard_quarantined 2",
      "switchyard_unrouted 1",
      'switchyard_certificate_expiry_timestamp_seconds{name="a.pem"} 1800000000',
      "switchyard_held_instances 0",
      "switchyard_consul_connected 1",
      "switchyard_consul_applied_index 7",
      "switchyard_consul_last_answer_age_seconds 2",
    ])
      expect(lines).toContain(expected);
    expect(samples(new Metrics().text(observed(null), 3_000))).toContain(
      "switchyard_consul_last_answer_age_seconds NaN",
    );
  });

  test("count events and start at 0", () => {
    const metrics = new Metrics();
    expect(samples(metrics.text(observed(), 0))).toContain('switchyard_reloads_total{reason="tcp port"} 0');
    metrics.reload("tcp port");
    metrics.operation("leave");
    metrics.operation("leave");
    metrics.failure();
    metrics.drifted();
    const lines = samples(metrics.text(observed(), 0));
    for (const expected of [
      'switchyard_reloads_total{reason="tcp port"} 1',
      'switchyard_operations_total{kind="leave"} 2',
      "switchyard_apply_failures_total 1",
      "switchyard_drift_corrections_total 1",
    ])
      expect(lines).toContain(expected);
  });

  test("each bucket of the histogram includes the smaller ones", () => {
    const metrics = new Metrics();
    for (const seconds of [0.001, 0.009, 0.3, 60]) metrics.converged(seconds);
    const buckets = samples(metrics.text(observed(), 0))
      .filter((line) => line.startsWith("switchyard_convergence_seconds_"))
      .map((line) => line.replace("switchyard_convergence_seconds_", ""));
    expect(buckets).toContain('bucket{le="0.0025"} 1');
    expect(buckets).toContain('bucket{le="0.01"} 2');
    expect(buckets).toContain('bucket{le="0.5"} 3');
    expect(buckets).toContain('bucket{le="+Inf"} 4');
    expect(buckets).toContain("count 4");
  });
});
