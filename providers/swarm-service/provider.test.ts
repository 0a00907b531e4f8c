import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeEngine, type FakeEngine } from "../fake-engine";
import { serviceProvider, type SwarmServiceInputs } from "./provider";
import { buildSpec, type ServiceSpec } from "./spec";
import { linesOf } from "./tasks";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
  // With a health check, running instances are healthy.
  engine.answers["GET /images/hello%3A1/json"] = { Config: { Healthcheck: { Test: ["CMD", "check"] } } };
});
afterEach(() => {
  engine.close();
});

const MARKS = { "switchyard.owner": "switchyard", "switchyard.claim": "c1" };
const whats = () => engine.calls.map((call) => call.what);

function inputs(change: Partial<SwarmServiceInputs> = {}): SwarmServiceInputs {
  return { host: engine.host, name: "hello-v1", image: "hello:1", readyTimeoutSeconds: 0.3, ...change };
}

function state(change: Partial<SwarmServiceInputs> = {}) {
  return { ...inputs(change), serviceId: "id1", claim: "c1" };
}

/** Gives the engine the service, with tasks in the given states. */
function serve(spec: ServiceSpec, tasks: object[] = [], UpdateStatus?: object): void {
  const service = { ID: "id1", Version: { Index: 7 }, Spec: spec, UpdateStatus };
  engine.answers["GET /services/hello-v1"] = service;
  engine.answers["GET /services/id1"] = service;
  engine.answers["GET /tasks"] = tasks;
}

function task(id: string, spec: ServiceSpec, State: string, more: object = {}) {
  const DesiredState = State === "failed" || State === "rejected" ? "shutdown" : "running";
  return {
    ID: id,
    ServiceID: "id1",
    Slot: 1,
    DesiredState,
    Spec: spec.TaskTemplate,
    Status: { State, ...more },
  };
}

describe("SwarmService", () => {
  it("rejects an invalid name", async () => {
    const result = await serviceProvider.check?.({} as SwarmServiceInputs, inputs({ name: "hello/v1" }));
    expect(result?.failures?.[0]?.reason).toContain("hello-v1");
  });

  it("reports changes, and is replaced only if its name, host or Swarm changes", async () => {
    const diff = (change: Partial<SwarmServiceInputs>) => serviceProvider.diff?.("", state(), inputs(change));
    expect(await diff({})).toMatchObject({ changes: false });
    expect(await diff({ readyTimeoutSeconds: 9 })).toMatchObject({ changes: false });
    expect(await diff({ image: "hello:2", replicas: 2 })).toEqual({
      changes: true,
      replaces: [],
      changedKeys: ["image", "replicas"],
    });
    expect(await diff({ name: "hello-v2" })).toMatchObject({ replaces: ["name"] });
    expect(await diff({ swarmId: "s2" })).toMatchObject({ replaces: ["swarmId"], changedKeys: ["swarmId"] });
    expect(await diff({ owner: "me" })).toMatchObject({ changes: true, replaces: [] });
  });

  it("creates a service and waits for its instances", async () => {
    engine.answers["POST /services/create"] = ({ body }: { body: ServiceSpec }) => {
      serve(body, [task("t1", body, "running")]);
      return { ID: "id1" };
    };
    const { id, outs } = await serviceProvider.create(inputs());
    expect(id).toBe("hello-v1");
    expect(outs).toMatchObject({ serviceId: "id1", image: "hello:1" });
  });

  it("sends the login for its image when instances are replaced or the login is another, and not otherwise", async () => {
    const image = "ghcr.io/acme/web:1";
    expect(await serviceProvider.diff?.("", state(), inputs({ logins: {} }))).toMatchObject({
      changes: false,
    });
    const logins = { "ghcr.io": { username: "acme", password: "one" } };
    const login = { username: "acme", password: "one", serveraddress: "ghcr.io" };
    const running = (body: ServiceSpec) => {
      serve(body, [task("t1", body, "running")], { State: "completed" });
      return { ID: "id1" };
    };
    const sent = () => engine.calls.filter(({ what }) => what.startsWith("POST")).at(-1)?.login;
    engine.answers["POST /services/create"] = ({ body }: { body: ServiceSpec }) => running(body);
    engine.answers["POST /services/id1/update"] = ({ body }: { body: ServiceSpec }) => running(body);
    const { outs } = await serviceProvider.create(inputs({ image, logins }));
    expect(sent()).toEqual(login);

    const labels = { ...MARKS, "switchyard.owner": "switchyard", "switchyard.claim": outs?.claim ?? "" };
    serve(buildSpec(inputs({ image }), labels), [], { State: "completed" });
    const change = (news: Partial<SwarmServiceInputs>) =>
      serviceProvider.update?.("hello-v1", outs as never, inputs({ image, logins, ...news }));
    await change({ serviceLabels: { "switchyard.a": "b" } });
    expect(sent()).toBeUndefined();
    await change({ env: { A: "b" } });
    expect(sent()).toEqual(login);
    await change({ env: { A: "b" }, logins: { "ghcr.io": { username: "acme", password: "two" } } });
    expect(sent()).toEqual({ ...login, password: "two" });
  });

  it("removes a service that does not start, with Docker's reason", async () => {
    engine.answers["POST /services/create"] = ({ body }: { body: ServiceSpec }) => {
      serve(body, [task("t1", body, "rejected", { Err: "No such image: hello:1" })]);
      return { ID: "id1" };
    };
    engine.answers["DELETE /services/id1"] = () => {
      engine.answers["GET /tasks"] = [];
      return {};
    };
    engine.answers["GET /containers/json"] = [];
    await expect(serviceProvider.create(inputs())).rejects.toThrow(
      "Service hello-v1 does not start. Instance 1 (task t1): No such image: hello:1",
    );
    expect(whats()).toContain("DELETE /services/id1");
  });

  describe("without a health check", () => {
    const worker = (change: Partial<SwarmServiceInputs> = {}) =>
      inputs({ image: "worker:1", updateConfig: { monitorSeconds: 1 }, ...change });

    /** The engine starts an instance, and a moment later there are instances in the states of `later`. */
    function starting(...later: string[]): void {
      engine.answers["POST /services/create"] = ({ body }: { body: ServiceSpec }) => {
        serve(body);
        const startMs = performance.now();
        const exit = { Err: "task: non-zero exit (1)", ContainerStatus: { ExitCode: 1 } };
        engine.answers["GET /tasks"] = () =>
          (performance.now() < startMs + 300 ? ["running"] : later).map((each, index) =>
            task(`t${index + 1}`, body, each, each === "failed" ? exit : {}),
          );
        return { ID: "id1" };
      };
      engine.answers["DELETE /services/id1"] = () => {
        engine.answers["GET /tasks"] = [];
        return {};
      };
      engine.answers["GET /containers/json"] = [];
    }

    it("has not started if its program keeps exiting", async () => {
      starting("failed", "failed", "failed");
      await expect(serviceProvider.create(worker())).rejects.toThrow(
        "Service hello-v1 keeps exiting: if it depends on another service, list that service in depends_on. " +
          "Instance 1 (task t3): task: non-zero exit (1)",
      );
    });

    it("has started if another attempt keeps running", async () => {
      starting("failed", "running");
      await serviceProvider.create(worker());
      expect(whats().filter((what) => what === "GET /tasks").length).toBeGreaterThan(5);
    });

    it("is not watched if it may end by itself", async () => {
      starting("failed");
      await serviceProvider.create(worker({ restartPolicy: { condition: "on-failure" } }));
    });
  });

  it("fails when it makes no progress", async () => {
    engine.answers["POST /services/create"] = ({ body }: { body: ServiceSpec }) => {
      serve(body, [
        task("t1", body, "pending", { Err: "no suitable\u001b[2J node (insufficient resources on 1 node)" }),
      ]);
      return { ID: "id1" };
    };
    engine.answers["DELETE /services/id1"] = () => {
      engine.answers["GET /tasks"] = [];
      return {};
    };
    engine.answers["GET /containers/json"] = [];
    await expect(serviceProvider.create(inputs())).rejects.toThrow(
      /0 of 1 instances are ready.*no suitable node/,
    );
  });

  it("does not touch a service of the same name with another owner", async () => {
    serve(buildSpec(inputs(), {}));
    await expect(serviceProvider.create(inputs())).rejects.toThrow("service rm hello-v1");
    expect(whats()).toEqual(["GET /services/hello-v1"]);
  });

  describe("ownership", () => {
    const owned = (owner: string, claim = "c1") =>
      buildSpec(inputs(), { "switchyard.owner": owner, "switchyard.claim": claim });
    const updated = (from: string, to: string) =>
      serviceProvider.update?.("hello-v1", state({ owner: from }), inputs({ owner: to, replicas: 2 }));
    const refusal = (owner: string) =>
      new RegExp(
        `service hello-v1 that belongs to ${owner}, not to shop/dev\\. Rename yours, or remove it: docker -H \\S+ service rm hello-v1`,
      );

    it.each([
      ["the same stack of another project", "bank/dev", "stack bank/dev"],
      ["an earlier version, which recorded only the stack", "dev", "stack dev"],
    ])("does not create over a service of %s", async (_case, owner, named) => {
      serve(owned(owner));
      await expect(serviceProvider.create(inputs({ owner: "shop/dev" }))).rejects.toThrow(refusal(named));
      expect(whats()).toEqual(["GET /services/hello-v1"]);
    });

    it.each([
      ["of another project", "bank/dev", "c1", "stack bank/dev"],
      ["that another project took over in an earlier version", "dev", "c2", "stack dev"],
      ["that was created by hand", undefined, "c1", "no stack of Switchyard"],
    ])("does not update a service %s", async (_case, owner, claim, named) => {
      serve(owner === undefined ? buildSpec(inputs(), {}) : owned(owner, claim));
      await expect(updated("dev", "shop/dev")).rejects.toThrow(refusal(named));
      expect(whats()).toEqual(["GET /services/hello-v1"]);
    });

    it("does not delete a service of another project", async () => {
      serve(owned("bank/dev"));
      await serviceProvider.delete?.("hello-v1", state({ owner: "shop/dev" }));
      expect(whats()).toEqual(["GET /services/id1"]);
    });

    it("deletes its own service when a failed update has already changed the owner", async () => {
      serve(owned("shop/dev"));
      engine.answers["DELETE /services/id1"] = {};
      engine.answers["GET /containers/json"] = [];
      await serviceProvider.delete?.("hello-v1", state({ owner: "dev" }));
      expect(whats()).toContain("DELETE /services/id1");
    });

    it("adopts its own service from an earlier version without touching its instances", async () => {
      const old = owned("dev");
      serve(old, [task("t1", old, "running")]);
      engine.answers["POST /services/id1/update"] = {};
      expect(
        await serviceProvider.diff?.("", state({ owner: "dev" }), inputs({ owner: "shop/dev" })),
      ).toEqual({ changes: true, replaces: [], changedKeys: ["owner"] });
      await serviceProvider.update?.("hello-v1", state({ owner: "dev" }), inputs({ owner: "shop/dev" }));
      const sent = engine.calls.find(({ what }) => what === "POST /services/id1/update")?.body;
      expect(sent).toEqual({
        ...old,
        Labels: { "switchyard.owner": "shop/dev", "switchyard.claim": "c1" },
      });
    });
  });

  it("takes over a service that an interrupted run left behind", async () => {
    const spec = buildSpec(inputs(), MARKS);
    serve(spec, [task("t1", spec, "running")]);
    engine.answers["POST /services/id1/update"] = {};
    const { outs } = await serviceProvider.create(inputs());
    expect(outs?.claim).not.toBe("c1");
    expect(whats()).not.toContain("POST /services/create");
  });

  it("replaces the instances for a new node to spread over, and runs nothing before", async () => {
    const spec = buildSpec(inputs(), MARKS);
    const sent = async (olds: string[] | undefined, news: string[]) => {
      engine.calls.length = 0;
      serve(spec, [task("t1", spec, "running")]);
      engine.answers["POST /services/id1/update"] = () => {
        serve(spec, [task("t2", spec, "running")], { State: "completed" });
        return {};
      };
      const wanted = inputs({ spreadOver: news, before: ["migrate"] });
      const given = state({ before: ["migrate"], ...(olds && { spreadOver: olds }) });
      expect(await serviceProvider.diff?.("", given, wanted)).toMatchObject({ changedKeys: ["spreadOver"] });
      await serviceProvider.update?.("hello-v1", given, wanted);
      return engine.calls.find(({ what }) => what === "POST /services/id1/update")?.body as ServiceSpec;
    };
    expect((await sent(["a"], ["a", "b"])).TaskTemplate.ForceUpdate).toBe(1);
    expect(whats()).not.toContain("POST /services/create");
    // One that left, or the first time: Swarm has moved the instances, or nothing has changed.
    expect((await sent(["a", "b"], ["a"])).TaskTemplate).toEqual(spec.TaskTemplate);
    expect((await sent(undefined, ["a", "b"])).TaskTemplate).toEqual(spec.TaskTemplate);
  });

  it("lets an instance that was told to stop finish its requests for as long as it may", async () => {
    const old = buildSpec(inputs({ stopGracePeriodSeconds: 5 }), MARKS);
    const spec = buildSpec(inputs({ image: "hello:2" }), MARKS);
    const last = { ...task("t0", old, "running"), DesiredState: "shutdown" };
    serve(old, [last]);
    engine.answers["POST /services/id1/update"] = () => {
      serve(spec, [last, task("t1", spec, "running")], { State: "completed" });
      // Longer than the update may go without progress.
      setTimeout(() => {
        serve(spec, [task("t1", spec, "running")], { State: "completed" });
      }, 1_500);
      return {};
    };
    const before = { ...state({ stopGracePeriodSeconds: 5 }) };
    await serviceProvider.update?.("hello-v1", before, inputs({ image: "hello:2" }));
  });

  it("reports an update that was rolled back", async () => {
    const spec = buildSpec(inputs(), MARKS);
    serve(spec, [task("t1", spec, "running")], { State: "completed" });
    engine.answers["POST /services/id1/update"] = ({ body }: { body: ServiceSpec }) => {
      const failed = task("t2", body, "failed", { Err: "task: non-zero exit (3)" });
      serve(spec, [task("t1", spec, "running"), failed], { State: "rollback_completed" });
      return {};
    };
    await expect(serviceProvider.update?.("hello-v1", state(), inputs({ image: "hello:2" }))).rejects.toThrow(
      "was rolled back; the previous instances keep serving. Instance 1 (task t2): task: non-zero exit (3)",
    );
  });

  describe("with a range of instances", () => {
    const range = { min: 1, max: 5 };
    const scaled = (change: Partial<SwarmServiceInputs> = {}) => ({
      ...inputs({ replicas: range, serviceLabels: { "switchyard.replicas.max": "5" }, ...change }),
    });
    const stateOf = (change: SwarmServiceInputs) => ({ ...change, serviceId: "id1", claim: "c1" });
    /** The service in Swarm, with a number of instances that the autoscaler chose. */
    const running = (count: number) => ({
      ...buildSpec(scaled(), MARKS),
      Mode: { Replicated: { Replicas: count } },
    });
    const sent = () =>
      engine.calls.find(({ what }) => what === "POST /services/id1/update")?.body as ServiceSpec | undefined;

    it.each([1, 3, 5])("takes %d instances for what was asked for on refresh", async (count) => {
      serve(running(count));
      const read = await serviceProvider.read?.("hello-v1", stateOf(scaled()));
      expect(read?.inputs).toEqual(scaled());
      expect(await serviceProvider.diff?.("", { ...stateOf(scaled()), ...read?.props }, scaled())).toMatchObject({ changes: false }); // prettier-ignore
    });

    it.each([0, 6])("detects %d instances on refresh, and reports the range as changed", async (count) => {
      serve(running(count));
      const read = await serviceProvider.read?.("hello-v1", stateOf(scaled()));
      expect(read?.inputs).toEqual(scaled({ replicas: count }));
      const found = { ...stateOf(scaled()), ...read?.props };
      expect(await serviceProvider.diff?.("", found, scaled())).toMatchObject({ changedKeys: ["replicas"] });
    });

    it("keeps a number that was chosen while it was updated", async () => {
      const [three, four] = [running(3), running(4)];
      serve(three, [task("t1", three, "running")]);
      const updates = [
        () => {
          const fresh = [1, 2, 3, 4].map((slot) => task(`t${slot}`, four, "running"));
          serve(four, fresh);
          return new Error("rpc error: update out of sequence");
        },
        () => ({}),
      ];
      engine.answers["POST /services/id1/update"] = () => updates.shift()?.();
      const labels = { "switchyard.replicas.max": "5", "switchyard.replicas.target": "2" };
      await serviceProvider.update?.("hello-v1", stateOf(scaled()), scaled({ serviceLabels: labels }));
      const bodies = engine.calls.filter(({ what }) => what === "POST /services/id1/update");
      expect(bodies.map(({ body }) => (body as ServiceSpec).Mode.Replicated?.Replicas)).toEqual([3, 4]);
    });

    it("does not wait for instances beyond the fewest, for which there may be no room", async () => {
      const three = running(3);
      const waiting = task("t2", three, "pending", { Err: "no suitable node" });
      serve(three, [task("t1", three, "running"), waiting]);
      engine.answers["POST /services/id1/update"] = {};
      await serviceProvider.update?.("hello-v1", stateOf(scaled()), scaled({ owner: "me" }));
      expect(sent()?.Labels).toMatchObject({ "switchyard.owner": "me" });
    });

    it("waits for the fewest", async () => {
      const two = { ...running(2), Labels: { ...running(2).Labels } };
      serve(two, [task("t1", two, "running"), task("t2", two, "pending", { Err: "no suitable node" })]);
      engine.answers["POST /services/id1/update"] = {};
      const wanted = scaled({ replicas: { min: 2, max: 5 } });
      await expect(serviceProvider.update?.("hello-v1", stateOf(scaled()), wanted)).rejects.toThrow(
        /1 of 2 instances are ready.*no suitable node/,
      );
    });
  });

  it("detects manual changes, and only those, on refresh", async () => {
    serve(buildSpec(inputs({ replicas: 5, env: { A: "1" } }), MARKS));
    const read = await serviceProvider.read?.("hello-v1", state({ env: { A: "1" } }));
    expect(read?.inputs).toEqual({ ...inputs({ env: { A: "1" } }), replicas: 5 });
  });

  it("is gone when a manager does not know it, but not while the engine has to join its Swarm again", async () => {
    engine.answers["GET /info"] = { Swarm: { ControlAvailable: true } };
    expect((await serviceProvider.read?.("hello-v1", state()))?.id).toBe("");
    engine.answers["GET /services/hello-v1"] = 503;
    engine.answers["GET /info"] = { Swarm: { ControlAvailable: false } };
    expect(await serviceProvider.read?.("hello-v1", state())).toEqual({ id: "hello-v1", props: state() });
  });

  it("can be deleted twice, or after its Swarm", async () => {
    engine.answers["GET /services/id1"] = 503;
    engine.answers["GET /info"] = { Swarm: { ControlAvailable: false } };
    await serviceProvider.delete?.("hello-v1", state());
    engine.answers["GET /info"] = { Swarm: { ControlAvailable: true } };
    engine.answers["GET /containers/json"] = [];
    engine.answers["GET /services/id1"] = engine.answers["DELETE /services/id1"] = 404;
    engine.answers["GET /tasks"] = [];
    await serviceProvider.delete?.("hello-v1", state());
  });

  it("does not delete a service that another resource has taken over", async () => {
    serve(buildSpec(inputs(), { ...MARKS, "switchyard.claim": "c2" }));
    await serviceProvider.delete?.("hello-v1", state());
    expect(whats()).toEqual(["GET /services/id1"]);
  });
});

it("reads Docker's log stream", () => {
  const piece = (text: string) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  expect(linesOf(Buffer.concat([piece("one\n"), piece("two\n")]))).toBe("  one\n  two");
  expect(linesOf(Buffer.alloc(0))).toBe("");
  // What it does to a terminal is shown instead.
  expect(linesOf(piece("\u001b[2J\u001b]0;owned\u0007red\n\tat \u202ex\r"))).toBe(
    "  red\n    at \\u202ex\\u000d",
  );
});
