import { beforeEach, describe, expect, test } from "vitest";
import { encodeFigures } from "../../../../routing/scaling/figures";
import { parseStatus } from "../../../../routing/scaling/status";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { parseLimits, writeChosen } from "../../../../routing/scaling/limits";
import { encodeUsage } from "../../../../routing/scaling/usage";
import type { Consul } from "../consul/client";
import { jobsIn } from "../swarm/jobs";
import { servicesIn } from "../swarm/services";
import { dockerService, serviceId } from "../swarm/testing";
import type { Relimit, Rescale, StartRun, Swarm } from "../swarm/types";
import { addUse, newUsage, readUsage, storeUsage } from "../vertical/usage";
import { Leader } from "./leader";

/** Consul and a Swarm in memory, with one service and one load balancer, and a clock that the test moves. */
class FakeWorld {
  nowMs = 0;
  cores = 4;
  isLeading = true;
  replicas = 2;
  /** Undefined: as many as there are replicas. */
  ready: number | undefined;
  concurrent = 0;
  inForce = 1_000;
  sequence = 1;
  refusal: string | undefined;
  more: Readonly<Record<string, unknown>> = {};
  labels: Record<string, string> = { "switchyard.replicas.max": "9", "switchyard.replicas.target": "10" };
  readonly keys = new Map<string, { value: string; index: number }>();
  readonly changes: number[] = [];
  readonly lines: string[] = [];
  private index = 100;

  readonly swarm = {
    swarm: (): Promise<Swarm> => {
      const { labels, replicas, more } = this;
      return Promise.resolve({
        services: servicesIn([dockerService({ labels, replicas, ...more })]),
        jobs: jobsIn([dockerService({ labels, replicas, ...more })]),
        nodesWanted: 0,
        cores: this.cores,
      });
    },
    rescale: (_: string, { version, replicas }: Rescale): Promise<void> => {
      if (this.refusal !== undefined) return Promise.reject(new Error(this.refusal));
      expect(version).toBe(12);
      this.replicas = replicas;
      this.changes.push(replicas);
      return Promise.resolve();
    },
    startRun: (_: string, { version, due }: StartRun): Promise<void> => {
      if (this.refusal !== undefined) return Promise.reject(new Error(this.refusal));
      expect(version).toBe(12);
      this.started.push(due);
      this.labels = { ...this.labels, "switchyard.run": due };
      return Promise.resolve();
    },
    endRun: (): Promise<void> => Promise.resolve(),
    relimit: (_: string, change: Relimit): Promise<void> => {
      if (this.refusal !== undefined) return Promise.reject(new Error(this.refusal));
      this.limited.push(change);
      this.labels = { ...this.labels, ...writeChosen(change) };
      return Promise.resolve();
    },
  };

  /** The times for which a job was started. */
  readonly started: string[] = [];
  /** The labels of the service that were written. */
  readonly limited: Relimit[] = [];

  put(key: string, value: string): void {
    this.keys.set(key, { value, index: ++this.index });
  }

  readonly consul = {
    get: (path: string) => Promise.resolve({ index: 1, body: this.body(path) }),
    putKey: (key: string, value: string) => {
      this.put(key, value);
      return Promise.resolve(true);
    },
    deleteKey: (key: string, index: number) => {
      expect(this.keys.get(key)?.index).toBe(index);
      return Promise.resolve(this.keys.delete(key));
    },
  };

  leader(dry = false, jobsOnly = false): Leader {
    return new Leader({
      node: "n1",
      dry,
      jobsOnly,
      wallMs: () => Date.parse("2026-11-29T02:59:58Z") + this.nowMs,
      consul: this.consul as unknown as Consul,
      swarm: this.swarm,
      isLeading: () => this.isLeading,
      log: (line) => this.lines.push(line),
      nowMs: () => this.nowMs,
    });
  }

  /** Ticks for some seconds, with new figures each time. */
  async run(leader: Leader, seconds = 2): Promise<void> {
    for (let left = seconds; left > 0; left -= 2) {
      const { concurrent, inForce: index } = this;
      const one = { concurrent, queued: 0, held: 0, rate: concurrent, errors: 0 };
      const figures = { sequence: this.sequence++, index, services: new Map([["hello/v1", one]]) };
      this.put(`${scalingKeys.figures}n1`, encodeFigures(figures));
      await leader.tick();
      this.nowMs += 2_000;
    }
  }

  get status() {
    const read = parseStatus(this.keys.get(scalingKeys.status)?.value ?? "");
    return read.ok ? read.value.services[0] : undefined;
  }

  get limits() {
    const read = parseStatus(this.keys.get(scalingKeys.status)?.value ?? "");
    return read.ok ? read.value.limits?.[0] : undefined;
  }

  private body(path: string): unknown {
    if (path === "catalog/nodes") return [{ Node: "n1" }];
    if (path.startsWith("health/")) return [];
    if (path.startsWith("catalog/node-services/")) {
      const instances = Array.from({ length: this.ready ?? this.replicas }, (_, at) => ({
        ID: `i${at}`,
        Service: "hello/v1",
        Tags: ["rest"],
        Meta: { host: "b.example.com" },
        ModifyIndex: 50,
      }));
      return { Node: { Node: "n1" }, Services: [...instances, { ID: "lb", Service: "rest" }] };
    }
    const prefix = path.replace(/^kv\//, "").replace(/\?recurse$/, "");
    return [...this.keys]
      .filter(([key]) => key.startsWith(prefix))
      .map(([Key, { value, index }]) => ({
        Key,
        Value: Buffer.from(value).toString("base64"),
        ModifyIndex: index,
      }));
  }
}

let world: FakeWorld;
let leader: Leader;
beforeEach(() => {
  world = new FakeWorld();
  leader = world.leader();
});

test("a spike is answered by the first tick that sees it, and told of", async () => {
  world.concurrent = 60;
  await world.run(leader);
  expect(world.changes).toEqual([9]);
  expect(world.status).toMatchObject({ name: "hello/v1", swarmName: "hello-v1", replicas: 9, wish: 9, ready: 2 });
  expect(world.status?.changes).toMatchObject([{ from: 2, to: 9 }]);
  expect(world.lines[0]).toBe("scaled hello/v1 from 2 to 9: 60 concurrent, target 10 at 70 %: 9");
}); // prettier-ignore

test("a new leader goes on with what was told, and removes nothing for a minute", async () => {
  world.concurrent = 60;
  await world.run(leader, 20);
  world.concurrent = 0;
  const next = world.leader();
  await world.run(next, 60);
  expect(world.changes).toEqual([9]);
  expect(world.status?.changes).toHaveLength(1);
  await world.run(next, 2);
  expect(world.replicas).toBe(5);
});

test("one that has lost the lock changes nothing, and says nothing", async () => {
  world.concurrent = 60;
  world.isLeading = false;
  await world.run(leader);
  expect([world.changes, world.status]).toEqual([[], undefined]);
});

test("in a dry run it only says what it would do, once", async () => {
  world.concurrent = 60;
  await world.run(world.leader(true), 10);
  expect(world.changes).toEqual([]);
  expect(world.lines.filter((line) => line.startsWith("would scale hello/v1 from 2 to 9"))).toHaveLength(1);
});

test("a service that Docker is updating is scaled afterwards", async () => {
  world.concurrent = 60;
  world.more = { UpdateStatus: { State: "updating" } };
  await world.run(leader);
  expect([world.changes, world.status?.problem]).toEqual([[], "is being updated by Docker; scaled afterwards"]);
  world.more = { UpdateStatus: { State: "completed" } };
  await world.run(leader);
  expect([world.replicas, world.status?.problem]).toEqual([9, undefined]);
}); // prettier-ignore

test("what Docker refuses is told of, logged once, and tried again", async () => {
  world.concurrent = 60;
  world.refusal = "the service has changed meanwhile";
  await world.run(leader, 6);
  expect(world.lines.filter((line) => line.includes("changed meanwhile"))).toHaveLength(1);
  expect(world.status?.problem).toContain("cannot be scaled from 2 to 9: the service has changed meanwhile");
  world.refusal = undefined;
  await world.run(leader);
  expect([world.replicas, world.status?.problem]).toEqual([9, undefined]);
});

test("a label with a mistake is told of, with the cure", async () => {
  world.labels = { "switchyard.replicas.max": "9" };
  await world.run(leader);
  expect(world.status?.problem).toContain("its label switchyard.replicas does not say what an instance handles");
}); // prettier-ignore

test("figures that are refused are named, and keep services from shrinking", async () => {
  await world.run(leader);
  world.put(`${scalingKeys.figures}n1`, "nonsense");
  world.nowMs += 400_000;
  await leader.tick();
  expect(world.lines).toContainEqual(expect.stringMatching(/^service\/autoscaler\/figures\/n1 starts with/));
  expect(world.status?.reason).toContain("none fewer while n1 sends no figures");
  expect(world.changes).toEqual([]);
});

test("what instances use is asked for", async () => {
  world.labels = { "switchyard.owner": "shop/dev" };
  await world.run(leader);
  expect(world.keys.get(scalingKeys.measure)?.value).toBe(serviceId);
  world.labels = {};
  await world.run(leader);
  expect(world.keys.get(scalingKeys.measure)?.value).toBe("");
});

describe("limits", () => {
  const mebibyte = 1024 ** 2;
  const history = `${scalingKeys.history}hello-v1`;
  /** What both instances use, and the limit that one has run into. */
  const use = (memoryMiB: number, outOfMemoryMiB?: number) => {
    const one = { service: serviceId, ageSeconds: 60, cores: 0.5, memoryBytes: memoryMiB * mebibyte };
    const tasks = new Map([["a", one], ["b", one]]);
    const outOfMemory = new Map(outOfMemoryMiB === undefined ? [] : [[serviceId, outOfMemoryMiB * mebibyte]]);
    world.put(`${scalingKeys.usage}n1`, encodeUsage({ sequence: world.sequence, tasks, outOfMemory }));
  };

  test("are recommended for a service of the stack, and what it used outlives the term", async () => {
    world.labels = { "switchyard.owner": "shop/dev" };
    use(100);
    await world.run(leader);
    expect(world.limits).toMatchObject({ name: "hello/v1", memory: { auto: false }, cpus: { auto: false } });
    const target = world.limits?.memory?.target ?? 0;
    expect(target).toBeGreaterThanOrEqual(115 * mebibyte);
    expect(world.status).toBeUndefined();
    for (let minute = 0; minute < 10; minute++) {
      world.nowMs += 60_000;
      use(100);
      await world.run(leader);
    }
    expect(readUsage(world.keys.get(history)?.value ?? "")).toMatchObject({ ok: true, value: { minutes: expect.any(Number) as number } });

    const next = world.leader();
    use(1);
    await world.run(next);
    expect(world.limits?.memory?.target).toBe(target);
  });

  test("rise at once when an instance ran out of memory, and the next leader knows", async () => {
    world.labels = { "switchyard.owner": "shop/dev" };
    use(50);
    await world.run(leader);
    use(50, 64);
    await world.run(leader);
    expect(world.limits?.memory?.target).toBeGreaterThanOrEqual(164 * 1.15 * mebibyte);
    expect(world.keys.has(history)).toBe(true);
  });

  describe("that are automatic", () => {
    const dayMs = 86_400_000;
    /** Three days in which instances used 100 MiB and half a core. */
    const known = () => {
      let usage = newUsage(Date.now() - 3 * dayMs);
      for (let minute = 0; minute < 3 * 1440; minute++)
        usage = addUse(usage, [{ cores: 0.5, memoryBytes: 100 * mebibyte }], usage.sinceMs + minute * 60_000);
      return storeUsage(usage);
    };
    beforeEach(() => {
      world.labels = { "switchyard.memory.max": "1g", "switchyard.cpus": "auto" };
      world.put(history, known());
    });

    test("become labels of the service, and from there known to all nodes", async () => {
      use(90);
      await world.run(leader, 4);
      expect(world.limited).toEqual([{ version: 12, memoryBytes: expect.any(Number) as number, cores: expect.any(Number) as number }]);
      const { memoryBytes = 0, cores } = world.limited[0] ?? {};
      expect(memoryBytes).toBeGreaterThanOrEqual(115 * mebibyte);
      expect(memoryBytes).toBeLessThan(125 * mebibyte);
      const published = parseLimits(world.keys.get(scalingKeys.limits)?.value ?? "");
      expect(published.ok && [...published.value]).toEqual([[serviceId, { memoryBytes, cores }]]);
      expect(world.limits).toMatchObject({ memory: { current: memoryBytes, auto: true }, cpus: { current: cores, auto: true } });
      expect(world.limits?.reason).toMatch(/^memory \d+ MiB: there was no limit; cpus 0.\d+: there was no limit$/);
      expect(world.lines).toContain(`limited hello/v1: ${world.limits?.reason ?? ""}`);
      expect(world.changes).toEqual([]);
    });

    test("are only told of in a dry run", async () => {
      const dry = world.leader(true);
      for (let minute = 0; minute < 3; minute++) {
        use(90);
        await world.run(dry);
        world.nowMs += 60_000;
      }
      expect([world.limited, world.keys.has(scalingKeys.limits)]).toEqual([[], false]);
      expect(world.lines.filter((line) => line.startsWith("would limit hello/v1: memory"))).toHaveLength(1);
    });

    test("are at most the cores that every node has", async () => {
      world.cores = 0.5;
      use(90);
      await world.run(leader, 4);
      expect(world.limited).toMatchObject([{ cores: 0.5 }]);
      expect(world.limits?.cpus?.current).toBe(0.5);
    });

    test("stay as they are without figures of all instances", async () => {
      world.replicas = 3;
      use(90);
      await world.run(leader, 4);
      expect([world.limited, world.limits?.reason]).toEqual([[], expect.stringContaining("waits for figures")]);
    });

    test("wait until Docker has updated the service, and are tried again if it refuses", async () => {
      world.more = { UpdateStatus: { State: "updating" } };
      use(90);
      await world.run(leader);
      expect(world.limited).toEqual([]);
      world.more = {};
      world.refusal = "the service has changed meanwhile";
      await world.run(leader, 4);
      expect(world.lines.filter((line) => line.includes("cannot be limited: the service has changed"))).toHaveLength(1);
      world.refusal = undefined;
      await world.run(leader);
      expect(world.limited).toHaveLength(1);
    });

    test("rise at once when an instance ran into them, and once only", async () => {
      world.labels = { ...world.labels, ...writeChosen({ memoryBytes: 120 * mebibyte, cores: 0.6 }) };
      use(90, 120);
      await world.run(leader, 10);
      expect(world.limited).toHaveLength(1);
      expect(world.limited[0]?.memoryBytes).toBeGreaterThanOrEqual(220 * mebibyte);
      expect(world.limits?.reason).toContain("instead of 120 MiB: an instance ran out of memory");
    });

    test("reach the specification when instances cannot start with what it says", async () => {
      const limit = { TaskTemplate: { Resources: { Limits: { MemoryBytes: 64 * mebibyte } } } };
      world.more = { spec: limit };
      world.labels = { ...world.labels, ...writeChosen({ memoryBytes: 200 * mebibyte, cores: 0.6 }) };
      use(90, 64);
      await world.run(leader, 120);
      expect(world.limited).toEqual([]);
      use(90, 64);
      await world.run(leader);
      expect(world.limited).toMatchObject([{ version: 12, memoryBytes: 200 * mebibyte, rollout: true }]);
      expect(world.lines).toContainEqual(expect.stringContaining("need more memory to start than they get"));
    });
  });

  test("are forgotten with the service, and begin anew if somebody spoilt what was known", async () => {
    world.put(history, "nonsense");
    world.put(`${scalingKeys.history}gone`, storeUsage(newUsage(0)));
    await world.run(leader);
    expect([...world.keys.keys()].filter((key) => key.endsWith("gone"))).toEqual([]);
    expect(world.lines).toContain(`${history} is not JSON; it begins anew`);
  });
}); // prettier-ignore

describe("a service that may sleep", () => {
  const record = `${scalingKeys.sleeping}hello/v1`;
  const wanted = `${scalingKeys.wanted}hello/v1`;
  beforeEach(() => {
    world.labels["switchyard.replicas.min"] = "0";
    world.labels["switchyard.replicas.idle"] = "10s";
    world.replicas = 1;
  });

  test("sleeps once its record is in force at every load balancer", async () => {
    world.inForce = 99;
    await world.run(leader, 30);
    expect(JSON.parse(world.keys.get(record)?.value ?? "")).toEqual({ tags: ["rest"], meta: { host: "b.example.com" } });
    expect(world.replicas).toBe(1);
    world.inForce = 1_000;
    await world.run(leader, 4);
    expect([world.replicas, world.status?.asleep]).toEqual([0, true]);
  }); // prettier-ignore

  test("wakes past every limit of pace, and its record goes when instances have its routes", async () => {
    await world.run(leader, 20);
    expect(world.replicas).toBe(0);
    world.put(wanted, "n1");
    world.ready = 0;
    await world.run(leader);
    expect([world.replicas, world.keys.has(record), world.keys.has(wanted)]).toEqual([1, true, true]);
    world.ready = 1;
    await world.run(leader);
    expect([world.keys.has(record), world.keys.has(wanted)]).toEqual([false, false]);
  });

  test("does not sleep if a request comes meanwhile, and its record goes again", async () => {
    world.inForce = 99;
    await world.run(leader, 16);
    expect(world.keys.has(record)).toBe(true);
    world.concurrent = 1;
    world.inForce = 1_000;
    await world.run(leader, 4);
    expect([world.replicas, world.keys.has(record)]).toEqual([1, false]);
  });

  test("what is left of services that are gone is deleted", async () => {
    world.put(`${scalingKeys.sleeping}gone`, "{}");
    world.put(`${scalingKeys.wanted}gone`, "n1");
    await world.run(leader);
    expect([...world.keys.keys()].filter((key) => key.endsWith("gone"))).toEqual([]);
  });
});

describe("a job", () => {
  const jobStatus = () => {
    const read = parseStatus(world.keys.get(scalingKeys.status)?.value ?? "");
    return read.ok ? read.value.jobs : undefined;
  };
  const at = "2026-11-29T03:00:00.000Z";
  beforeEach(() => {
    world.labels = { "switchyard.schedule": "0 3 * * *" };
    world.replicas = 0;
    world.more = { CreatedAt: "2026-11-29T02:00:00Z" };
  });

  test.each([
    ["dry", true, false],
    ["for jobs only", false, true],
    ["as always", false, false],
  ])("is started when its time has come, %s", async (_, dry, jobsOnly) => {
    const one = world.leader(dry, jobsOnly);
    await world.run(one, 2);
    expect(world.started).toEqual([]);
    expect(jobStatus()).toMatchObject([{ swarmName: "hello-v1", schedule: "0 3 * * *", next: at, runs: [] }]);
    await world.run(one, 60);
    expect(world.started).toEqual([at]);
    expect(world.lines).toContain(`job hello/v1 starts for ${at}`);
    expect(world.changes).toEqual([]);
  });

  test("is started once, whoever leads and whatever Consul has lost", async () => {
    await world.run(leader, 4);
    world.keys.clear();
    await world.run(world.leader(), 4);
    expect(world.started).toEqual([at]);
  });

  test("is not started by one that does not lead", async () => {
    world.isLeading = false;
    await world.run(world.leader(false, true), 60);
    expect(world.started).toEqual([]);
  });

  test("that Docker refuses to start is told of, logged once, and started afterwards", async () => {
    world.refusal = "the service has changed meanwhile";
    await world.run(leader, 8);
    expect(jobStatus()).toMatchObject([{ problem: "cannot be started: the service has changed meanwhile" }]);
    expect(world.lines.filter((line) => line.includes("cannot be started"))).toHaveLength(1);
    world.refusal = undefined;
    await world.run(leader, 2);
    expect(world.started).toEqual([at]);
    expect(jobStatus()?.[0]).not.toHaveProperty("problem");
  });

  test("whose schedule is wrong is told of", async () => {
    world.labels = { "switchyard.schedule": "tonight" };
    await world.run(leader, 60);
    expect(jobStatus()).toMatchObject([{ problem: expect.stringContaining("five fields") as string }]);
    expect(world.started).toEqual([]);
  });

  test("that is gone is forgotten", async () => {
    await world.run(leader, 4);
    expect([...world.keys.keys()]).toContain(`${scalingKeys.jobs}hello-v1`);
    world.labels = { "switchyard.owner": "a/b" };
    await world.run(leader, 2);
    expect([...world.keys.keys()]).not.toContain(`${scalingKeys.jobs}hello-v1`);
  });
});
