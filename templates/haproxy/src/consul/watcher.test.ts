import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Refusal, TooLarge, Unanswered, type Answer } from "./client";
import { Watcher, type Source } from "./watcher";

interface Stored {
  index: number;
  body: unknown;
}

/** Blocks queries as Consul does, until the path's index differs from the given one. */
class FakeConsul implements Source {
  readonly asked: { readonly path: string; readonly index: number; readonly wait: number }[] = [];
  private readonly stored = new Map<string, Stored>();
  /** The path that each waits for. */
  private readonly wakers = new Map<() => void, string>();
  failure: Error | undefined;
  /** By path. */
  readonly refused = new Map<string, Error>();
  filtered = false;

  set(path: string, index: number, body: unknown): void {
    this.stored.set(path, { index, body });
    this.wake();
  }

  wake(): void {
    for (const wake of [...this.wakers.keys()]) wake();
  }

  /** Starts over with lower indexes: the query for `path` stays, all others lose their connection. */
  startOver(path: string, index: number, body: unknown): void {
    this.stored.set(path, { index, body });
    this.failure = new Unanswered("connection reset");
    for (const [wake, waiting] of [...this.wakers]) if (waiting !== path) wake();
  }

  async query(path: string, index: number, wait: number, signal: AbortSignal): Promise<Answer> {
    this.asked.push({ path, index, wait });
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const refusal = this.refused.get(path);
      if (refusal !== undefined) throw refusal;
      const stored = this.stored.get(path) ?? { index: 1, body: [] };
      if (stored.index !== index) return { ...stored, parsingMs: 0, filtered: this.filtered };
      await new Promise<void>((resolve, reject) => {
        const wake = () => {
          this.wakers.delete(wake);
          signal.removeEventListener("abort", wake);
          if (signal.aborted) reject(new Error("aborted"));
          else resolve();
        };
        this.wakers.set(wake, path);
        signal.addEventListener("abort", wake);
      });
    }
  }

  close(): void {
    this.wake();
  }
}

const refusal = (status: number) => new Refusal(`Consul answered ${status}`, status);

const watchers: Watcher[] = [];
afterEach(() => {
  for (const watch of watchers.splice(0)) watch.stop();
});

const node = (name: string) => ({ Node: name, Address: `10.0.0.${name.length}` });
const service = (id: string, more: object = {}) => ({
  ID: id,
  Service: id,
  Port: 80,
  Tags: ["rest"],
  ...more,
});
const services = (name: string) => `catalog/node-services/${name}`;
/** Waits longer than the watcher rests between two small answers. */
const settle = () => sleep(20);

async function started(prepare: (consul: FakeConsul) => void = () => undefined) {
  const consul = new FakeConsul();
  consul.set("catalog/nodes", 5, [node("n")]);
  consul.set(services("n"), 6, { Services: [service("a"), service("b")] });
  consul.set("catalog/service/consul", 1, [{ ServiceName: "consul" }]);
  prepare(consul);
  const events = {
    changed: vi.fn(),
    advanced: vi.fn(),
    suspect: vi.fn<(why: string) => void>(),
    back: vi.fn(),
    noticed: vi.fn<(what: string) => void>(),
    done: vi.fn(() => Promise.resolve()),
  };
  const watch = new Watcher(consul, events);
  watchers.push(watch);
  watch.start();
  await settle();
  return { consul, events, watch };
}

test("there is no catalog until every query has been answered", async () => {
  const { consul, watch } = await started((fake) => {
    fake.set(services("n"), 0, undefined);
  });
  expect(watch.catalog()).toBeUndefined();
  consul.set(services("n"), 6, { Services: [service("a")] });
  await settle();
  expect(watch.catalog()?.instances).toMatchObject([{ id: "a", address: "10.0.0.1", healthy: true }]);
  expect(watch.index).toBe(6);
});

test("an unchanged catalog costs only the blocking queries", async () => {
  const { consul } = await started();
  expect(consul.asked.filter(({ index }) => index > 0)).toHaveLength(5);
  const before = consul.asked.length;
  consul.wake();
  await settle();
  expect(consul.asked).toHaveLength(before);
});

test("a change costs one answer, and all other instances stay the same objects", async () => {
  const { consul, events, watch } = await started();
  const [a] = watch.catalog()?.instances ?? [];
  const before = consul.asked.length;
  events.changed.mockClear();
  consul.set(services("n"), 7, { Services: [service("a"), service("b", { Port: 81 })] });
  await settle();
  expect(consul.asked.slice(before).map(({ path }) => path)).toEqual([services("n")]);
  expect(events.changed).toHaveBeenCalledTimes(1);
  const after = watch.catalog()?.instances ?? [];
  expect(after[0]).toBe(a);
  expect(after[1]?.port).toBe(81);
});

test("follows the checks of a service and of its node", async () => {
  const { consul, watch } = await started();
  const health = () => watch.catalog()?.instances.map(({ healthy, warning }) => [healthy, warning ?? false]);
  consul.set("health/state/critical", 8, [{ Node: "n", ServiceID: "a" }]);
  consul.set("health/state/warning", 8, [{ Node: "other", ServiceID: "b" }]);
  await settle();
  expect(health()).toEqual([
    [false, false],
    [true, false],
  ]);
  consul.set("health/state/critical", 9, []);
  consul.set("health/state/warning", 9, [{ Node: "n", ServiceID: "" }]);
  await settle();
  expect(health()).toEqual([
    [true, true],
    [true, true],
  ]);
});

test("an index that rises without a change is reported as an advance", async () => {
  const { consul, events, watch } = await started();
  events.changed.mockClear();
  consul.set("health/state/critical", 50, []);
  consul.set("catalog/nodes", 51, [node("n")]);
  await settle();
  expect(events.changed).not.toHaveBeenCalled();
  expect(events.advanced).toHaveBeenCalled();
  expect(watch.index).toBe(51);
});

test("an index that goes back is suspect and restarts the query", async () => {
  const { consul, events, watch } = await started();
  const before = consul.asked.length;
  consul.set(services("n"), 2, { Services: [service("c")] });
  await settle();
  expect(events.suspect.mock.calls).toEqual([[expect.stringContaining("went back from 6 to 2")]]);
  expect(consul.asked.slice(before)).toContainEqual(
    expect.objectContaining({ path: services("n"), index: 0 }),
  );
  expect(watch.catalog()?.instances).toMatchObject([{ id: "c" }]);
});

test("a Consul that has started over is not queried for an index that it has yet to reach", async () => {
  const { consul, watch } = await started();
  consul.startOver(services("n"), 2, { Services: [service("c")] });
  await settle();
  consul.failure = undefined;
  await sleep(500);
  expect(watch.catalog()?.instances).toMatchObject([{ id: "c" }]);
});

describe("a token that has lost its rights", () => {
  test("to services leaves everything as it is, until it has them again", async () => {
    const { consul, events, watch } = await started();
    consul.set("health/state/critical", 8, [{ Node: "n", ServiceID: "a" }]);
    await settle();
    const before = watch.catalog()?.instances;
    consul.set("catalog/service/consul", 9, []);
    consul.set(services("n"), 9, { Services: [] });
    consul.set("health/state/critical", 9, []);
    await settle();
    expect(events.suspect.mock.calls).toEqual([[expect.stringContaining("not even its own")]]);
    expect(events.suspect.mock.calls[0]?.[0]).toContain("service:read");
    expect(watch.connected).toBe(false);
    expect(watch.catalog()?.instances).toEqual(before);

    consul.set("catalog/service/consul", 10, [{}]);
    consul.set(services("n"), 10, { Services: [service("b")] });
    await vi.waitFor(() => {
      expect(watch.connected).toBe(true);
    });
    expect(watch.catalog()?.instances).toMatchObject([{ id: "b", healthy: true }]);
  });

  test("to keys leaves the settings as they are", async () => {
    const value = (text: string) => Buffer.from(text).toString("base64");
    const settings = "kv/service/haproxy/?recurse";
    const { consul, events, watch } = await started((fake) => {
      fake.set(settings, 5, [{ Key: "service/haproxy/versions/shop", Value: value("v1") }]);
    });
    const before = watch.catalog()?.kv;
    expect(before).toEqual({ "service/haproxy/versions/shop": "v1" });
    consul.refused.set("kv/service/haproxy/maxconn", refusal(403));
    consul.set(settings, 6, null);
    await settle();
    expect(events.suspect).toHaveBeenCalledWith("Consul answered 403");
    expect(watch.catalog()?.kv).toEqual(before);

    consul.refused.clear();
    await vi.waitFor(() => {
      expect(watch.catalog()?.kv).toEqual({});
    });
  });

  test("or never had them gets no catalog", async () => {
    const { watch } = await started((fake) => {
      fake.set("catalog/service/consul", 1, []);
      fake.set(services("n"), 6, { Services: [] });
    });
    expect(watch.catalog()).toBeUndefined();
  });
});

test("an outage and its end are reported once, and the catalog stays", async () => {
  const { consul, events, watch } = await started();
  consul.failure = new Error("connect ECONNREFUSED");
  consul.wake();
  await settle();
  expect(events.suspect.mock.calls).toEqual([["connect ECONNREFUSED"]]);
  expect(watch.connected).toBe(false);
  expect(watch.catalog()?.instances).toHaveLength(2);
  consul.failure = undefined;
  const before = consul.asked.length;
  await vi.waitFor(() => {
    expect(events.back).toHaveBeenCalledTimes(1);
  });
  // A Consul that has started over would only wait if queried for the former index.
  expect(consul.asked.slice(before).filter(({ index }) => index === 0)).toHaveLength(5);
  expect(watch.connected).toBe(true);
});

test("a removed node takes its instances and its query along, and a new one brings its own", async () => {
  const { consul, events, watch } = await started();
  consul.set("catalog/nodes", 9, [node("mm")]);
  consul.set(services("mm"), 9, { Services: [service("z")] });
  await settle();
  expect(watch.catalog()?.instances).toMatchObject([{ id: "z", node: "mm" }]);
  const before = consul.asked.length;
  consul.set(services("n"), 10, { Services: [] });
  await settle();
  expect(consul.asked).toHaveLength(before);
  expect(events.suspect).not.toHaveBeenCalled();
});

test("a node that Consul cannot be queried for is left out with a reason and affects nothing else", async () => {
  const { consul, events, watch } = await started((fake) => {
    fake.set("catalog/nodes", 5, [node(".."), node("big"), node("n"), node("odd")]);
    fake.refused.set(services("odd"), refusal(301));
    fake.refused.set(services("big"), new TooLarge("an answer of more than 64 MiB"));
  });
  expect(watch.connected).toBe(true);
  expect(events.suspect).not.toHaveBeenCalled();
  expect(watch.catalog()).toMatchObject({
    instances: [{ id: "a" }, { id: "b" }],
    problems: [
      {
        level: "quarantined",
        message: expect.stringContaining('".." is left out, since its name') as string,
      },
      {
        level: "quarantined",
        message: expect.stringMatching(/"big" is left out, since .* more than 64 MiB: deregister/) as string,
      },
      {
        level: "quarantined",
        message: expect.stringContaining('"odd" is left out, since Consul answers 301') as string,
      },
    ],
  });
  expect(consul.asked).not.toContainEqual({ path: services(".."), index: 0 });
  consul.set("catalog/nodes", 8, [node("n")]);
  await settle();
  expect(watch.catalog()?.problems).toBeUndefined();
});

test("a node whose name is not valid Unicode can come and go", async () => {
  const { consul, events, watch } = await started((fake) => {
    fake.set("catalog/nodes", 5, [node("n"), node("\ud800")]);
    fake.set(services("%EF%BF%BD"), 5, null);
  });
  expect(watch.catalog()?.instances).toHaveLength(2);
  expect(watch.missing).toBe("checks");
  consul.set("catalog/nodes", 8, [node("n")]);
  await settle();
  expect(events.suspect).not.toHaveBeenCalled();
});

test("a node that Consul rejects later keeps its instances", async () => {
  const { consul, events, watch } = await started();
  consul.refused.set(services("n"), refusal(400));
  events.changed.mockClear();
  consul.wake();
  await settle();
  expect(events.changed).toHaveBeenCalledTimes(1);
  expect(watch.catalog()).toMatchObject({ instances: [{ id: "a" }, { id: "b" }], problems: [{}] });
  expect(watch.connected).toBe(true);
});

test.each([403, 404, 429, 500])(
  "%d is not about the node, so Consul is suspect until the node is removed",
  async (status) => {
    const { consul, events, watch } = await started((fake) => {
      fake.set("catalog/nodes", 5, [node("n"), node("odd")]);
      fake.refused.set(services("odd"), refusal(status));
    });
    expect(watch.catalog()).toBeUndefined();
    expect(watch.connected).toBe(false);
    expect(events.suspect).toHaveBeenCalledTimes(1);
    consul.set("catalog/nodes", 8, [node("n")]);
    await settle();
    expect(events.back).toHaveBeenCalledTimes(1);
    expect(watch.catalog()?.instances).toHaveLength(2);
  },
);

test("a node's new address applies to instances without one of their own", async () => {
  const { consul, watch } = await started();
  consul.set("catalog/nodes", 9, [{ Node: "n", Address: "10.9.9.9" }]);
  await settle();
  expect(watch.catalog()?.instances.map(({ address }) => address)).toEqual(["10.9.9.9", "10.9.9.9"]);
});

test("an answer that cannot be decoded is reported and affects nothing else", async () => {
  const { consul, events, watch } = await started();
  consul.set(services("n"), 9, "nonsense");
  await settle();
  expect(events.suspect.mock.calls[0]?.[0]).toContain("is not an object");
  expect(watch.catalog()?.instances).toHaveLength(2);
});

test("an empty list of nodes is not believed", async () => {
  const { consul, events, watch } = await started();
  consul.set("catalog/nodes", 9, []);
  await settle();
  expect(events.suspect.mock.calls[0]?.[0]).toMatch(/no node.*CONSUL_HTTP_TOKEN/);
  expect(watch.catalog()?.instances).toHaveLength(2);
});

test("a query with useless answers backs off", async () => {
  const { consul, events } = await started((fake) => {
    fake.set("catalog/nodes", 7, []);
  });
  await sleep(1_500);
  expect(consul.asked.filter(({ path }) => path === "catalog/nodes").length).toBeLessThan(6);
  expect(events.suspect).toHaveBeenCalledTimes(1);
  consul.set("catalog/nodes", 8, [node("n")]);
  // By now, the pause may be as long as 2.4 s.
  await vi.waitFor(
    () => {
      expect(events.back).toHaveBeenCalledTimes(1);
    },
    { timeout: 6_000 },
  );
}, 10_000);

test("a token that may not see everything is reported once", async () => {
  const { events } = await started((consul) => {
    consul.filtered = true;
  });
  expect(events.noticed.mock.calls).toEqual([[expect.stringContaining("CONSUL_HTTP_TOKEN")]]);
});

test("a burst of changes is read with rests in between", async () => {
  const { consul } = await started();
  const slow = vi.spyOn(performance, "now");
  let clock = 0;
  slow.mockImplementation(() => (clock += 50));
  const count = () => consul.asked.filter(({ path }) => path === services("n")).length;
  const before = count();
  for (let index = 20; index < 40; index++) {
    consul.set(services("n"), index, { Services: [service("a", { Port: index })] });
    await settle();
  }
  slow.mockRestore();
  expect(count() - before).toBeLessThan(5);
});

test("Consul is queried again once its last answer has been applied", async () => {
  const { consul, events } = await started();
  let done: () => void = () => undefined;
  events.done.mockReturnValue(new Promise((resolve) => (done = resolve)));
  const before = consul.asked.length;
  consul.set(services("n"), 20, { Services: [service("a", { Port: 20 })] });
  await settle();
  expect(events.changed).toHaveBeenCalled();
  expect(consul.asked).toHaveLength(before);
  done();
  await settle();
  expect(consul.asked).toHaveLength(before + 1);
});

test("knows which part of a change is still on its way, whichever arrives first", async () => {
  const { consul, watch } = await started();
  const after = async (index: number, ...paths: readonly string[]) => {
    for (const path of paths) consul.set(path, index, path.startsWith("catalog/") ? { Services: [] } : []);
    await settle();
    return watch.missing;
  };
  const [critical, warning] = ["health/state/critical", "health/state/warning"] as const;
  expect(await after(9, services("n"))).toBe("checks");
  expect(await after(9, critical)).toBe("checks");
  expect(await after(9, warning)).toBe("nothing");
  expect(await after(10, "kv/service/haproxy/?recurse")).toBe("nothing");
  expect(await after(11, warning)).toBe("services");
  expect(await after(12, services("n"))).toBe("checks");
  expect(await after(13, services("n"), critical, warning)).toBe("nothing");
});
