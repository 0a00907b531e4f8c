import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeEngine, type FakeEngine } from "../fake-engine";
import { beforeSpec } from "./job";
import { serviceProvider, type SwarmServiceInputs } from "./provider";
import { buildSpec, type ServiceSpec } from "./spec";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
  vi.restoreAllMocks();
});

const marks = { "switchyard.owner": "switchyard", "switchyard.claim": "c1" };

function inputs(change: Partial<SwarmServiceInputs> = {}): SwarmServiceInputs {
  const before = ["/app/migrate", "--all"];
  return { host: engine.host, name: "shop", image: "shop:2", before, readyTimeoutSeconds: 0.3, ...change };
}
const state = (change: Partial<SwarmServiceInputs> = {}) => ({
  ...inputs(change),
  serviceId: "shop1",
  claim: "c1",
});

const line = (text: string) => {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(text.length, 4);
  return Buffer.concat([head, Buffer.from(text)]);
};

interface Ending {
  readonly State: string;
  readonly Err?: string;
  readonly ExitCode?: number;
}

/** An engine with the service as deployed with image shop:1, in which what runs before it ends like that. */
function serve(
  { State, Err, ExitCode = 0 }: Ending,
  deployed = buildSpec(inputs({ image: "shop:1" }), marks),
) {
  let spec = deployed;
  const own = () => ({
    ID: "m1",
    ServiceID: "before1",
    DesiredState: "running",
    Status: { State, Err, ContainerStatus: { ContainerID: "c", ExitCode } },
  });
  const replaced = () => ({
    ID: "t1",
    ServiceID: "shop1",
    Slot: 1,
    DesiredState: "running",
    Spec: spec.TaskTemplate,
    Status: { State: "running" },
  });
  const service = () => ({
    ID: "shop1",
    Version: { Index: 7 },
    Spec: spec,
    UpdateStatus: { State: "completed" },
  });
  engine.answers["GET /services/shop"] = engine.answers["GET /services/shop1"] = service;
  engine.answers["GET /services/before1"] = { ID: "before1", Version: { Index: 1 }, Spec: spec };
  engine.answers["GET /tasks/m1/logs"] = line("table made\n");
  engine.answers["GET /containers/json"] = [];
  let isThere = false;
  engine.answers["POST /services/create"] = () => {
    isThere = true;
    return { ID: "before1" };
  };
  engine.answers["DELETE /services/before1"] = () => {
    isThere = false;
    return {};
  };
  engine.answers["GET /tasks"] = ({ query }: { query: Record<string, string> }) =>
    (query["filters"] ?? "").includes("shop1") ? [replaced()] : isThere ? [own()] : [];
  engine.answers["POST /services/shop1/update"] = ({ body }: { body: ServiceSpec }) => {
    spec = body;
    return {};
  };
}

const whats = () => engine.calls.map(({ what }) => what).filter((what) => !what.startsWith("GET"));
const created = () => engine.calls.find(({ what }) => what === "POST /services/create")?.body as ServiceSpec;

describe("before", () => {
  it("runs in the new image before a rollout, with what instances have, and tells the last lines of its log", async () => {
    const said = vi.spyOn(console, "warn").mockReturnValue();
    serve({ State: "complete" });
    const mounts = [{ type: "volume" as const, source: "data", target: "/data" }];
    await serviceProvider.update?.("shop", state({ image: "shop:1" }), inputs({ mounts, env: { A: "1" } }));
    expect(whats()).toEqual([
      "POST /services/create",
      "DELETE /services/before1",
      "POST /services/shop1/update",
    ]);
    expect(created()).toMatchObject({
      Name: "shop-before",
      Labels: marks,
      Mode: { Replicated: { Replicas: 1 } },
      TaskTemplate: {
        RestartPolicy: { Condition: "none" },
        ContainerSpec: {
          Image: "shop:2",
          Command: ["/app/migrate"],
          Args: ["--all"],
          Env: ["A=1"],
          Labels: { SERVICE_IGNORE: "true", "switchyard.labels": "SERVICE_IGNORE" },
          Mounts: [{ Type: "volume", Source: "data", Target: "/data" }],
        },
      },
    });
    expect(said).toHaveBeenCalledWith("shop: before has succeeded. Its last log lines:\n  table made");
  });

  it("does not answer to the names of the service in networks", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    serve({ State: "complete" });
    const networks = [{ id: "n1", aliases: ["shop"] }];
    await serviceProvider.update?.("shop", state({ image: "shop:1" }), inputs({ networks }));
    expect(created().TaskTemplate.Networks).toEqual([{ Target: "n1" }]);
  });

  it("that fails changes nothing, and says why", async () => {
    serve({ State: "failed", Err: "task: non-zero exit (3)", ExitCode: 3 });
    await expect(serviceProvider.update?.("shop", state({ image: "shop:1" }), inputs())).rejects.toThrow(
      "before of service shop failed with exit code 3, so nothing of the service has changed. Its last log lines:\n  table made",
    );
    expect(whats()).toEqual(["POST /services/create", "DELETE /services/before1"]);
  });

  it("that has no image says so", async () => {
    serve({ State: "rejected", Err: "No such image: shop\u001b[2J:2" });
    await expect(serviceProvider.update?.("shop", state(), inputs())).rejects.toThrow(
      "No such image: shop:2",
    );
  });

  it("that finds no node fails after a while", async () => {
    serve({ State: "pending", Err: "no suitable node" });
    await expect(serviceProvider.update?.("shop", state(), inputs())).rejects.toThrow(
      /did not start within 0\.3 s\..*no suitable node/,
    );
    expect(whats()).toEqual(["POST /services/create", "DELETE /services/before1"]);
  });

  it.each([{ replicas: 3 }, { serviceLabels: { "switchyard.a": "1" } }, { before: ["other"] }])(
    "does not run for a change of %j alone",
    async (change) => {
      serve({ State: "complete" }, buildSpec(inputs(), marks));
      // One instance runs, and a second one cannot.
      await serviceProvider.update?.("shop", state(), inputs(change)).catch(() => undefined);
      expect(whats()).toEqual(["POST /services/shop1/update"]);
    },
  );

  it("runs before the first start", async () => {
    serve({ State: "failed", ExitCode: 1 });
    engine.answers["GET /services/shop"] = 404;
    await expect(serviceProvider.create(inputs())).rejects.toThrow("exit code 1");
    expect(whats()).toEqual(["POST /services/create", "DELETE /services/before1"]);
    expect(created().Name).toBe("shop-before");
  });

  it("removes first what an up that was killed has left, but nothing of others", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    serve({ State: "complete" });
    const left = (owner: string) => ({
      ID: "before1",
      Version: { Index: 1 },
      Spec: { ...beforeSpec({ name: "shop", command: ["a"], template: buildSpec(inputs(), {}).TaskTemplate, marks }), Labels: { "switchyard.owner": owner, "switchyard.claim": "c1" } },
    }); // prettier-ignore
    engine.answers["GET /services/shop-before"] = left("somebody/else");
    await expect(serviceProvider.update?.("shop", state(), inputs())).rejects.toThrow(
      "service rm shop-before",
    );
    expect(whats()).toEqual([]);
    engine.answers["GET /services/shop-before"] = left("switchyard");
    await serviceProvider.update?.("shop", state(), inputs());
    expect(whats().slice(0, 2)).toEqual(["DELETE /services/before1", "POST /services/create"]);
    await serviceProvider.delete?.("shop", state());
    expect(whats().filter((what) => what === "DELETE /services/before1")).toHaveLength(3);
  });

  it("is forgotten with the key, but no service of the stack that has its name", async () => {
    serve({ State: "complete" });
    const Spec = buildSpec(inputs({ name: "shop-before" }), marks);
    const present = (claim: string) => {
      const Labels = { ...marks, "switchyard.claim": claim };
      engine.answers["GET /services/shop-before"] = {
        ID: "before1",
        Version: { Index: 1 },
        Spec: { ...Spec, Labels },
      };
    };
    const none = { before: undefined } as unknown as Partial<SwarmServiceInputs>;
    const update = () => serviceProvider.update?.("shop", state(none), inputs(none));
    present("its own");
    await update();
    expect(whats()).not.toContain("DELETE /services/before1");
    present("c1");
    await update();
    expect(whats()).toContain("DELETE /services/before1");
  });

  it("is a change of its own for a preview", async () => {
    const diff = await serviceProvider.diff?.("", state(), inputs({ before: ["other"] }));
    expect(diff).toEqual({ changes: true, replaces: [], changedKeys: ["before"] });
  });
});

describe("a job", () => {
  const job = (change: Partial<SwarmServiceInputs> = {}) =>
    inputs({ before: undefined, serviceLabels: { "switchyard.schedule": "0 3 * * *" }, ...change } as Partial<SwarmServiceInputs>); // prettier-ignore

  it("is created without waiting for instances", async () => {
    engine.answers["POST /services/create"] = { ID: "job1" };
    await serviceProvider.create(job());
    expect(created().Mode).toEqual({ Replicated: { Replicas: 0 } });
  });

  it("is made of a worker at once, whose instance never ends", async () => {
    const said = vi.spyOn(console, "warn").mockReturnValue();
    serve({ State: "complete" });
    await serviceProvider.update?.("shop", state(), job());
    expect(said).not.toHaveBeenCalled();
    expect(whats()).toContain("POST /services/shop1/update");
  });

  it("is changed once its run has ended", async () => {
    const said = vi.spyOn(console, "warn").mockReturnValue();
    const spec = { ...buildSpec(job({ image: "shop:1" }), marks), Mode: { Replicated: { Replicas: 1 } } };
    engine.answers["GET /services/shop"] = engine.answers["GET /services/shop1"] = {
      ID: "shop1",
      Version: { Index: 7 },
      Spec: spec,
    };
    const states = ["running", "running", "complete"];
    engine.answers["GET /tasks"] = () => [
      {
        ID: "t1",
        ServiceID: "shop1",
        CreatedAt: new Date().toISOString(),
        Status: { State: states.shift() ?? "complete" },
      },
    ];
    engine.answers["POST /services/shop1/update"] = () => {
      expect(states).toEqual([]);
      return {};
    };
    await serviceProvider.update?.("shop", { ...job({ image: "shop:1" }), serviceId: "shop1", claim: "c1" }, job()); // prettier-ignore
    expect(said).toHaveBeenCalledOnce();
    expect(whats()).toEqual(["POST /services/shop1/update"]);
  });

  it("that a restore holds is changed afterwards", async () => {
    const said = vi.spyOn(console, "warn").mockReturnValue();
    const spec = buildSpec(job({ image: "shop:1" }), marks);
    const labelled = (more: object) => ({
      ID: "shop1",
      Version: { Index: 7 },
      Spec: { ...spec, Labels: { ...spec.Labels, ...more } },
    });
    const held = labelled({ "switchyard.hold": "2100-01-01T00:00:00.000Z" });
    const answers = [held, held, held];
    const next = () => answers.shift() ?? labelled({});
    engine.answers["GET /services/shop"] = engine.answers["GET /services/shop1"] = next;
    engine.answers["GET /tasks"] = [];
    engine.answers["POST /services/shop1/update"] = () => {
      expect(answers).toEqual([]);
      return {};
    };
    await serviceProvider.update?.("shop", { ...job({ image: "shop:1" }), serviceId: "shop1", claim: "c1" }, job()); // prettier-ignore
    expect(said).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining("script/restore is exchanging the data of shop: it is changed afterwards"),
    );
    expect(whats()).toEqual(["POST /services/shop1/update"]);
  });
});
