import { describe, expect, test } from "vitest";
import { buildRouting } from "../../../routing/build";
import { Metrics } from "./metrics";
import { expositionProblems } from "./testing";
import { buildView, type View } from "./admin/status";

const state = { up: true, maintenance: false, weight: 100 };

const view = (lastAnswer = 1_000): View =>
  buildView({
    notReady: undefined,
    failure: undefined,
    pending: [],
    consul: { connected: true, index: 7, lastAnswer },
    routing: buildRouting({
      instances: [
        {
          service: "a",
          id: "a:1",
          node: "n",
          address: "10.0.0.1",
          port: 1,
          tags: ["rest"],
          meta: {},
          healthy: true,
        },
        {
          service: "a b",
          id: "x",
          node: "n",
          address: "10.0.0.1",
          port: 2,
          tags: ["rest"],
          meta: {},
          healthy: true,
        },
      ],
      kv: {},
    }),
    states: [
      { ...state, backend: "svc:a", server: "10.0.0.1:1" },
      { ...state, backend: "svc:a", server: "10.0.0.1:8", maintenance: true },
      { ...state, backend: "svc:gone", server: "10.0.0.1:9", maintenance: true },
    ],
    proven: new Set(),
    held: [],
    changes: [],
    https: {
      served: new Map([["a.pem", { pem: "", names: ["a.test"], expires: 1_800_000_000_000 }]]),
      problems: [
        { level: "quarantined", subject: "b.pem", message: "certificate b.pem has no private key." },
      ],
    },
  });

const samples = (text: string) => text.split("\n").filter((line) => !line.startsWith("#"));

test("certificates are among what /routes tells", () => {
  expect(view()).toMatchObject({
    certificates: [{ name: "a.pem", hosts: ["a.test"], expires: "2027-01-15T08:00:00.000Z" }],
    quarantined: [{ subject: "a b" }, { subject: "b.pem" }],
  });
});

describe("our metrics", () => {
  test("are in the exposition format", () => {
    const metrics = new Metrics();
    metrics.reload("recovery");
    metrics.operation("add");
    metrics.converged(0.007);
    expect(expositionProblems(metrics.text(view(), 3_000))).toEqual([]);
    expect(expositionProblems(metrics.text(view(0), 3_000))).toEqual([]);
  });

  test("say what is so", () => {
    const lines = samples(new Metrics().text(view(), 3_000));
    for (const expected of [
      "switchyard_ready 1",
      "switchyard_routes 1",
      "switchyard_services 1",
      'switchyard_instances{state="up"} 1',
      'switchyard_instances{state="down"} 0',
      'switchyard_instances{state="leaving"} 2',
      "switchyard_quarantined 2",
      'switchyard_certificate_expiry_timestamp_seconds{name="a.pem"} 1800000000',
      "switchyard_held_instances 0",
      "switchyard_consul_connected 1",
      "switchyard_consul_applied_index 7",
      "switchyard_consul_last_answer_age_seconds 2",
    ])
      expect(lines).toContain(expected);
    expect(samples(new Metrics().text(view(0), 3_000))).toContain(
      "switchyard_consul_last_answer_age_seconds NaN",
    );
  });

  test("count what has happened, and are there from the start", () => {
    const metrics = new Metrics();
    expect(samples(metrics.text(view(), 0))).toContain('switchyard_reloads_total{reason="tcp port"} 0');
    metrics.reload("tcp port");
    metrics.operation("leave");
    metrics.operation("leave");
    metrics.failure();
    metrics.drifted();
    const lines = samples(metrics.text(view(), 0));
    for (const expected of [
      'switchyard_reloads_total{reason="tcp port"} 1',
      'switchyard_operations_total{kind="leave"} 2',
      "switchyard_apply_failures_total 1",
      "switchyard_drift_corrections_total 1",
    ])
      expect(lines).toContain(expected);
  });

  test("the histogram's buckets include those below", () => {
    const metrics = new Metrics();
    for (const seconds of [0.001, 0.009, 0.3, 60]) metrics.converged(seconds);
    const buckets = samples(metrics.text(view(), 0))
      .filter((line) => line.startsWith("switchyard_convergence_seconds_"))
      .map((line) => line.replace("switchyard_convergence_seconds_", ""));
    expect(buckets).toContain('bucket{le="0.0025"} 1');
    expect(buckets).toContain('bucket{le="0.01"} 2');
    expect(buckets).toContain('bucket{le="0.5"} 3');
    expect(buckets).toContain('bucket{le="+Inf"} 4');
    expect(buckets).toContain("count 4");
  });
});
