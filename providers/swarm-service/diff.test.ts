import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { changedInputs, driftedInputs, nextSpec } from "./diff";
import type { FileInputs, MountInputs } from "./container";
import type { InputKey, ReplicaRangeInputs, ServiceInputs } from "./inputs";
import { buildSpec, inputsOf, type ServiceSpec } from "./spec";

const text = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 8 });
const key = fc.stringMatching(/^[A-Z][A-Z0-9_]{0,6}$/);
const seconds = fc.integer({ min: 1, max: 600 });

const mount: fc.Arbitrary<MountInputs> = fc.oneof(
  fc.record(
    {
      type: fc.constant("volume" as const),
      source: text,
      target: text,
      readOnly: fc.boolean(),
      labels: fc.dictionary(key, text, { maxKeys: 2 }),
      driverOptions: fc.dictionary(key, text, { minKeys: 1, maxKeys: 2 }),
    },
    { requiredKeys: ["type", "source", "target"] },
  ),
  fc.record(
    { type: fc.constant("bind" as const), source: text, target: text, readOnly: fc.constant(true) },
    { requiredKeys: ["type", "source", "target"] },
  ),
  fc.record(
    { type: fc.constant("tmpfs" as const), target: text, sizeBytes: fc.nat(), mode: fc.nat(0o7777) },
    { requiredKeys: ["type", "target"] },
  ),
);
const file: fc.Arbitrary<FileInputs> = fc.record(
  {
    id: text,
    name: text,
    target: text,
    uid: fc.constantFrom("0", "999"),
    mode: fc.constantFrom(0, 0o400, 0o444),
  },
  { requiredKeys: ["id", "name", "target"] },
);

const service: fc.Arbitrary<ServiceInputs> = fc.record(
  {
    name: fc.constant("hello-v1"),
    image: text,
    command: fc.array(text, { maxLength: 3 }),
    args: fc.array(text, { maxLength: 3 }),
    env: fc.dictionary(key, fc.string(), { maxKeys: 6 }),
    labels: fc.dictionary(key, fc.string(), { maxKeys: 6 }),
    serviceLabels: fc.dictionary(fc.constantFrom("switchyard.a", "switchyard.b"), fc.string()),
    replicas: fc.integer({ min: 0, max: 100 }),
    ports: fc.uniqueArray(
      fc.record(
        { target: fc.integer({ min: 1, max: 65535 }), protocol: fc.constantFrom("tcp", "udp") },
        { requiredKeys: ["target"] },
      ),
      { maxLength: 3, selector: ({ target }) => target },
    ),
    healthCheck: fc.record(
      {
        test: fc.constant(["CMD", "true"]),
        intervalSeconds: seconds,
        retries: fc.integer({ min: 0, max: 5 }),
      },
      { requiredKeys: [] },
    ),
    limits: fc.record({ cpus: fc.constantFrom(0.25, 1, 2.5), memoryBytes: fc.nat() }, { requiredKeys: [] }),
    networks: fc.uniqueArray(
      fc.record({ id: text, aliases: fc.uniqueArray(text, { maxLength: 2 }) }, { requiredKeys: ["id"] }),
      { maxLength: 2, selector: ({ id }) => id },
    ),
    dns: fc.array(fc.ipV4(), { maxLength: 2 }),
    stopGracePeriodSeconds: seconds,
    constraints: fc.array(text, { maxLength: 3 }),
    spread: fc.array(text, { maxLength: 2 }),
    maxReplicasPerNode: fc.nat(),
    logging: fc.record(
      { driver: text, options: fc.dictionary(key, text, { maxKeys: 2 }) },
      { requiredKeys: ["driver"] },
    ),
    mounts: fc.uniqueArray(mount, { maxLength: 3, selector: ({ target }) => target }),
    secrets: fc.uniqueArray(file, { maxLength: 3, selector: ({ target }) => target }),
    configs: fc.uniqueArray(file, { maxLength: 3, selector: ({ target }) => target }),
    user: text,
    readOnly: fc.boolean(),
    init: fc.boolean(),
    capAdd: fc.uniqueArray(key, { maxLength: 2 }),
    capDrop: fc.uniqueArray(key, { maxLength: 2 }),
    ulimits: fc.dictionary(key, fc.record({ soft: fc.nat(), hard: fc.nat() }), { maxKeys: 2 }),
    stopSignal: fc.constantFrom("SIGINT", "SIGQUIT"),
    updateConfig: fc.record(
      { parallelism: fc.integer({ min: 1, max: 4 }), monitorSeconds: seconds },
      { requiredKeys: [] },
    ),
    restartPolicy: fc.record({ delaySeconds: seconds }, { requiredKeys: [] }),
  },
  { requiredKeys: ["name", "image"] },
);

const base: ServiceInputs = {
  name: "hello-v1",
  image: "hello:1",
  env: { A: "1", B: "2" },
  labels: { SERVICE_NAME: "hello/v1" },
  replicas: 3,
  ports: [{ target: 8080 }],
};

/** What Swarm returns: the definition it was given, with its own additions. */
function asStored(inputs: ServiceInputs): ServiceSpec {
  const spec = buildSpec(inputs, { mark: "1" });
  const { ContainerSpec } = spec.TaskTemplate;
  const additions = { Isolation: "default", Init: false };
  return {
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: { ...additions, ...ContainerSpec } },
  };
}

describe("changedInputs", () => {
  it("finds no difference between a declaration and its service", () => {
    fc.assert(
      fc.property(service, (inputs) => {
        expect(changedInputs(inputs, inputsOf(asStored(inputs)))).toEqual([]);
      }),
    );
  });

  it("ignores the order of environment variables and labels", () => {
    fc.assert(
      fc.property(service, (inputs) => {
        const backwards = (of: Readonly<Record<string, string>>) =>
          Object.fromEntries(Object.entries(of).reverse());
        const other = {
          ...inputs,
          env: backwards(inputs.env ?? {}),
          labels: backwards(inputs.labels ?? {}),
          constraints: [...(inputs.constraints ?? [])].reverse(),
        };
        expect(changedInputs(inputs, other)).toEqual([]);
        expect(buildSpec(other, {}).TaskTemplate.ContainerSpec.Env).toEqual(
          buildSpec(inputs, {}).TaskTemplate.ContainerSpec.Env,
        );
      }),
    );
  });

  const cases: [InputKey[], Partial<ServiceInputs>][] = [
    [
      [],
      { replicas: 3, stopGracePeriodSeconds: 10, ports: [{ target: 8080, protocol: "tcp", published: 0 }] },
    ],
    [[], { updateConfig: { order: "start-first", monitorSeconds: 5 }, restartPolicy: { condition: "any" } }],
    [["replicas"], { replicas: 0 }],
    [["env"], { env: { A: "1", B: "2", C: "" } }],
    [["labels"], { labels: {} }],
    [["args"], { args: ["--x"] }],
    [["ports"], { ports: [{ target: 8081 }] }],
    [["ports"], { ports: [{ target: 8080 }, { target: 22 }] }],
    [["networks"], { networks: [{ id: "n1" }] }],
    [["limits"], { limits: { cpus: 0.5 } }],
    [["global"], { global: true }],
    [[], { global: false, mounts: [], secrets: [], readOnly: false }],
    [["mounts"], { mounts: [{ type: "volume", source: "dev_data", target: "/data" }] }],
    [["readOnly", "capDrop"], { readOnly: true, capDrop: ["ALL"] }],
    [["stopGracePeriodSeconds"], { stopGracePeriodSeconds: 0 }],
    [["updateConfig"], { updateConfig: { monitorSeconds: 0 } }],
    [["name", "image"], { name: "hello-v2", image: "hello:2" }],
  ];
  it.each(cases)("names %j", (expected, change) => {
    expect(changedInputs(base, { ...base, ...change })).toEqual(expected);
  });

  it("treats an unknown value as a change", () => {
    const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9" as never;
    const news = {
      ...base,
      image: unknown,
      env: unknown,
      ports: unknown,
      dns: unknown,
      updateConfig: unknown,
    };
    expect(changedInputs(base, news)).toEqual(["image", "env", "ports", "dns", "updateConfig"]);
  });
});

const range: fc.Arbitrary<ReplicaRangeInputs> = fc
  .record({ min: fc.integer({ min: 0, max: 20 }), more: fc.integer({ min: 0, max: 20 }) })
  .map(({ min, more }) => ({ min, max: Math.max(1, min + more) }));

/** The service in Swarm, with as many instances as somebody chose. */
const running = (inputs: ServiceInputs, count: number): ServiceSpec => ({
  ...asStored(inputs),
  Mode: { Replicated: { Replicas: count } },
});
const countOf = (spec: ServiceSpec): number => spec.Mode.Replicated?.Replicas ?? -1;
const scaled: ServiceInputs = { ...base, serviceLabels: { "switchyard.replicas.max": "5" } };

describe("networks", () => {
  const networks = [{ id: "n2", aliases: ["b", "a"] }, { id: "n1" }];

  it("replace the instances, which find each other's addresses in DNS", () => {
    const next = nextSpec(asStored(base), { ...base, networks }, {});
    expect(next.TaskTemplate).toMatchObject({
      Networks: [{ Target: "n1" }, { Target: "n2", Aliases: ["a", "b"] }],
    });
    expect(next.EndpointSpec).toMatchObject({ Mode: "dnsrr", Ports: [{ TargetPort: 8080 }] });
    expect(nextSpec(next, base, {}).EndpointSpec).not.toHaveProperty("Mode");
    expect(nextSpec(next, base, {}).TaskTemplate).not.toHaveProperty("Networks");
  });

  it("are the same in another order", () => {
    const other = [{ id: "n1", aliases: [] }, { id: "n2", aliases: ["a", "b"] }]; // prettier-ignore
    expect(changedInputs({ ...base, networks }, { ...base, networks: other })).toEqual([]);
    const current = asStored({ ...base, networks });
    expect(nextSpec(current, { ...base, networks: other }, { mark: "1" })).toEqual(current);
  });
});

describe("a range of instances", () => {
  it("is the same range, and not any other or a number in it", () => {
    const changed = (news: number | ReplicaRangeInputs) =>
      changedInputs({ ...base, replicas: { min: 0, max: 5 } }, { ...base, replicas: news });
    expect(changed({ max: 5, min: 0 })).toEqual([]);
    for (const other of [3, { min: 1, max: 5 }, { min: 0, max: 6 }])
      expect(changed(other)).toEqual(["replicas"]);
  });

  it("starts with the fewest, and not with 0", () => {
    fc.assert(
      fc.property(range, (replicas) => {
        expect(countOf(buildSpec({ ...base, replicas }, {}))).toBe(Math.max(1, replicas.min));
      }),
    );
  });

  it("leaves any number in it alone, and brings every other to the nearest bound", () => {
    fc.assert(
      fc.property(range, fc.integer({ min: 0, max: 60 }), (replicas, count) => {
        const { min, max } = replicas;
        const wanted = { ...scaled, replicas };
        const current = running(wanted, count);
        const isRight = count >= min && count <= max;
        expect(driftedInputs(inputsOf(current), wanted)).toEqual(isRight ? [] : ["replicas"]);
        const next = nextSpec(current, wanted, { mark: "1" });
        expect(countOf(next)).toBe(isRight ? count : count < min ? min : max);
        expect(next).toEqual({ ...current, Mode: next.Mode });
        expect(next.TaskTemplate).toBe(current.TaskTemplate);
      }),
    );
  });

  it("keeps the number of instances when something else changes", () => {
    const wanted = { ...scaled, replicas: { min: 1, max: 5 } };
    const next = nextSpec(running(wanted, 4), { ...wanted, image: "hello:2" }, {});
    expect([countOf(next), next.TaskTemplate.ContainerSpec.Image]).toEqual([4, "hello:2"]);
  });

  it("takes over the number of instances, except 0, which nothing would wake", () => {
    const wanted = { ...scaled, replicas: { min: 0, max: 5 } };
    const after = (count: number) => countOf(nextSpec(running(base, count), wanted, {}));
    expect([0, 1, 3, 9].map(after)).toEqual([1, 1, 3, 5]);
  });

  it("gives way to a number", () => {
    expect(countOf(nextSpec(running(scaled, 4), base, {}))).toBe(3);
  });
});

it("a ulimit of 0 is not the same as none", () => {
  const ulimits = { core: { soft: 0, hard: 0 } };
  expect(changedInputs(base, { ...base, ulimits })).toEqual(["ulimits"]);
  expect(driftedInputs(inputsOf(asStored(base)), { ...base, ulimits })).toEqual(["ulimits"]);
  expect(driftedInputs(inputsOf(asStored({ ...base, ulimits })), { ...base, ulimits })).toEqual([]);
});

describe("limits that something else chooses", () => {
  const mebibyte = 1024 ** 2;
  const limits = { memoryBytes: { min: 64 * mebibyte, max: 256 * mebibyte }, cpus: { min: 0.1, max: 2 } };
  const wanted = { ...base, limits };
  /** The service in Swarm, with a limit of memory in MiB and what has been chosen since. */
  const running = (memory: number, labels: Record<string, string> = {}): ServiceSpec => {
    const spec = asStored({ ...wanted, limits: { memoryBytes: memory * mebibyte } });
    return { ...spec, Labels: { ...spec.Labels, ...labels } };
  };
  const chosen = { "switchyard.limits.memory": `${128 * mebibyte}`, "switchyard.limits.cpus": "0.5" };
  const limitsOf = (spec: ServiceSpec) => spec.TaskTemplate.Resources?.Limits;

  it("are none in a new service", () => {
    expect(limitsOf(buildSpec(wanted, {}))).toEqual({ NanoCPUs: 0, MemoryBytes: 0 });
  });

  it("are left alone within their bounds, whatever has been chosen since", () => {
    for (const memory of [0, 64, 256]) {
      const current = running(memory, chosen);
      expect(driftedInputs(inputsOf(current), wanted)).toEqual([]);
      expect(nextSpec(current, wanted, { mark: "1" })).toEqual(current);
    }
    expect(driftedInputs(inputsOf(running(32)), wanted)).toEqual(["limits"]);
    expect(driftedInputs(inputsOf(running(0)), { ...base, limits: { memoryBytes: 1 } })).toEqual(["limits"]);
  });

  it("are forgotten once the limit is fixed again", () => {
    const fixed = { ...base, limits: { memoryBytes: limits.memoryBytes, cpus: 1 } };
    const { "switchyard.limits.memory": memory } = chosen;
    expect(nextSpec(running(64, chosen), fixed, { mark: "1" }).Labels).toEqual({
      "switchyard.limits.memory": memory,
      mark: "1",
    });
  });

  it("are those chosen last once instances are replaced anyway, within the bounds", () => {
    const after = (labels: Record<string, string>) =>
      nextSpec(running(0, labels), { ...wanted, image: "hello:2" }, { mark: "1" });
    expect(limitsOf(after(chosen))).toEqual({ NanoCPUs: 5e8, MemoryBytes: 128 * mebibyte });
    expect(after(chosen).Labels).toEqual({ ...chosen, mark: "1" });
    expect(limitsOf(after({ "switchyard.limits.memory": "1" }))).toMatchObject({
      MemoryBytes: 64 * mebibyte,
    });
    expect(limitsOf(after({ "switchyard.limits.memory": "much" }))).toMatchObject({ MemoryBytes: 0 });
  });

  it("differ from fixed ones", () => {
    const fixed = { ...base, limits: { memoryBytes: 64 * mebibyte } };
    expect(changedInputs(fixed, wanted)).toEqual(["limits"]);
    expect(changedInputs(wanted, { ...wanted, limits: { ...limits } })).toEqual([]);
  });
});

describe("labels of the service", () => {
  it("change without touching its instances", () => {
    const current = asStored({ ...scaled, serviceLabels: { "switchyard.a": "1", "switchyard.b": "1" } });
    const next = nextSpec(current, { ...scaled, serviceLabels: { "switchyard.a": "2" } }, { mark: "1" });
    expect(next).toEqual({ ...current, Labels: { "switchyard.a": "2", mark: "1" } });
    expect(next.TaskTemplate).toBe(current.TaskTemplate);
  });

  it("that somebody else has set, and those that say whose it is, stay", () => {
    const current = {
      ...asStored(base),
      Labels: { theirs: "x", "switchyard.owner": "me", "switchyard.c": "1" },
    };
    expect(nextSpec(current, base, {}).Labels).toEqual({ theirs: "x", "switchyard.owner": "me" });
    expect(driftedInputs(inputsOf(current), base)).toEqual(["serviceLabels"]);
  });
});

describe("nextSpec", () => {
  it("keeps the engine's own definition if only the number of instances changes", () => {
    fc.assert(
      fc.property(service, fc.integer({ min: 0, max: 100 }), (inputs, replicas) => {
        const current = asStored(inputs);
        const next = nextSpec(current, { ...inputs, replicas }, { mark: "1" });
        expect(next).toEqual({ ...current, Mode: { Replicated: { Replicas: replicas } } });
        expect(next.TaskTemplate).toBe(current.TaskTemplate);
      }),
    );
  });

  it("sends the new definition if anything else changes", () => {
    const current = asStored(base);
    const wanted = { ...base, env: { ...base.env, B: "3" } };
    expect(nextSpec(current, wanted, {}).TaskTemplate).toEqual(buildSpec(wanted, {}).TaskTemplate);
  });

  it("keeps service labels that others have set", () => {
    const current = { ...asStored(base), Labels: { theirs: "x", mark: "1" } };
    expect(nextSpec(current, base, { mark: "2" }).Labels).toEqual({ theirs: "x", mark: "2" });
  });
});

describe("a job", () => {
  const job: ServiceInputs = {
    name: "backup",
    image: "shop:1",
    serviceLabels: { "switchyard.schedule": "0 3 * * *" },
    restartPolicy: { condition: "none" },
  };
  /** After its fifth run. */
  const ran: ServiceSpec = {
    ...buildSpec(job, {}),
    Labels: { "switchyard.schedule": "0 3 * * *", "switchyard.run": "2026-11-29T03:00:00.000Z" },
    TaskTemplate: { ...buildSpec(job, {}).TaskTemplate, ForceUpdate: 5 },
    Mode: { Replicated: { Replicas: 1 } },
  };

  it("does not run when it is created", () => {
    expect(buildSpec(job, {}).Mode).toEqual({ Replicated: { Replicas: 0 } });
  });

  it("has not drifted since it ran, unless somebody scaled it", () => {
    expect(driftedInputs(inputsOf(ran), job)).toEqual([]);
    const scaled = { ...ran, Mode: { Replicated: { Replicas: 3 } } };
    expect(driftedInputs(inputsOf(scaled), job)).toEqual(["replicas"]);
    expect(nextSpec(scaled, job, {}).Mode).toEqual({ Replicated: { Replicas: 0 } });
  });

  it("does not run when it changes, and its runs are numbered on", () => {
    const next = nextSpec(ran, { ...job, image: "shop:2" }, {});
    expect(next.Mode).toEqual({ Replicated: { Replicas: 0 } });
    expect(next.TaskTemplate).toMatchObject({ ForceUpdate: 5, ContainerSpec: { Image: "shop:2" } });
    expect(next.Labels).toEqual(ran.Labels);
  });

  it("keeps running when only its schedule changes", () => {
    const next = nextSpec(ran, { ...job, serviceLabels: { "switchyard.schedule": "0 4 * * *" } }, {});
    expect(next.Mode).toEqual(ran.Mode);
    expect(next.TaskTemplate).toBe(ran.TaskTemplate);
    expect(next.Labels).toMatchObject({ "switchyard.schedule": "0 4 * * *" });
  });

  it("has a schedule again that somebody removed by hand", () => {
    const without = { ...ran, Labels: {} };
    expect(driftedInputs(inputsOf(without), job)).toEqual(["serviceLabels"]);
    expect(nextSpec(without, job, {}).Labels).toMatchObject(job.serviceLabels ?? {});
  });

  it("may become a service, which runs", () => {
    const service: ServiceInputs = { name: "backup", image: "shop:1", replicas: 2 };
    expect(nextSpec(ran, service, {}).Mode).toEqual({ Replicated: { Replicas: 2 } });
  });
});
