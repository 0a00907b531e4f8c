import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeEngine, type Call, type FakeEngine } from "../fake-engine";
import { rollingContainerProvider, type RollingContainerInputs } from "./provider";

const OWNER = "switchyard/dev";
const OLD = "0123456789abcdef";
const NEXT = "0000111122223333";
const NEW = "fedcba9876543210";

interface Container {
  name: string;
  labels: Record<string, string>;
  running: boolean;
  restart: string;
  volume?: string;
  restarts?: number;
  health?: string;
  /** The start of its last successful health check, by number. */
  checks?: number;
}

let engine: FakeEngine;
let containers: Map<string, Container>;
/** What happens when the new container starts. */
let onStart: (container: Container) => void;

const named = (name: string) => [...containers].find(([id, each]) => id === name || each.name === name);
const names = () => Object.fromEntries([...containers].map(([id, { name }]) => [id, name]));

function inspected(id: string, container: Container): object {
  const { name, labels, running, restart, volume, restarts = 0, health = "healthy", checks } = container;
  // Each look is later than the one before.
  if (running && checks !== undefined) container.checks = checks + 1;
  return {
    Id: id,
    Name: `/${name}`,
    RestartCount: restarts,
    Config: { Labels: labels },
    HostConfig: { RestartPolicy: { Name: restart } },
    Mounts: volume === undefined ? [] : [{ Name: volume, Destination: "/state" }],
    State: {
      Running: running,
      Restarting: false,
      ExitCode: running ? 0 : 3,
      Health: {
        Status: health,
        Log: [
          {
            Start: `t${String(checks ?? 0)}`,
            ExitCode: health === "healthy" ? 0 : 1,
            Output: "not \u0008ready\n",
          },
        ],
      },
    },
  };
}

beforeEach(async () => {
  engine = await fakeEngine();
  containers = new Map();
  onStart = () => undefined;
  const { answers } = engine;
  const on = (what: string, key: string, act: (container: Container, call: Call, id: string) => unknown) => {
    answers[what] = (call: Call) => {
      const found = named(key);
      return found === undefined ? 404 : (act(found[1], call, found[0]) ?? {});
    };
  };
  answers["GET /info"] = { ID: "engine-1" };
  answers["GET /containers/json"] = ({ query }: Call) => {
    const filters = JSON.parse(query["filters"] ?? "{}") as { label?: string[] };
    const [label, value = ""] = filters.label?.[0]?.split("=") ?? [];
    return [...containers]
      .filter(([, { labels }]) => label === undefined || labels[label] === value)
      .map(([Id, { name, labels, running }]) => {
        return { Id, Names: [`/${name}`], Labels: labels, State: running ? "running" : "exited" };
      });
  };
  answers["POST /containers/create"] = ({ query, body }: Call) => {
    const { Labels, HostConfig } = body as {
      Labels: Record<string, string>;
      HostConfig: { RestartPolicy: { Name: string } };
    };
    const restart = HostConfig.RestartPolicy.Name;
    containers.set(NEW, { name: query["name"] ?? "", labels: Labels, running: false, restart });
    return { Id: NEW };
  };
  for (const key of [OLD, NEXT, NEW, "rest", "rest-next"]) {
    on(`GET /containers/${key}/json`, key, (container, _call, id) => inspected(id, container));
    on(`GET /containers/${key}/logs`, key, () =>
      piece("cannot bind\u001b]0;owned\u0007 port 80\r\n\u202eagain\n"),
    );
    on(`POST /containers/${key}/start`, key, (container, _call, id) => {
      container.running = true;
      if (id === NEW) onStart(container);
    });
    on(`POST /containers/${key}/stop`, key, (container) => void (container.running = false));
    on(`POST /containers/${key}/restart`, key, (container) => void (container.running = true));
    on(`POST /containers/${key}/rename`, key, (container, { query }) => {
      if (named(query["name"] ?? "") !== undefined) return 409;
      container.name = query["name"] ?? "";
      return undefined;
    });
    on(`POST /containers/${key}/update`, key, (container, { body }) => {
      container.restart = (body as { RestartPolicy: { Name: string } }).RestartPolicy.Name;
    });
    on(`DELETE /containers/${key}`, key, (_container, _call, id) => void containers.delete(id));
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  engine.close();
});

function piece(text: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

function inputs(change: Partial<RollingContainerInputs> = {}): RollingContainerInputs {
  return {
    host: engine.host,
    owner: OWNER,
    name: "rest",
    image: "haproxy:1",
    env: { STATS_PASSWORD: "not to be shown" },
    labels: { SERVICE_NAME: "rest" },
    restart: "unless-stopped",
    volumes: [{ volumeName: "rest-state", containerPath: "/state" }],
    waitTimeoutSeconds: 0.3,
    ...change,
  };
}

function state(change: Partial<RollingContainerInputs> = {}) {
  return { ...inputs(change), containerId: OLD, claim: "c1", engineId: "engine-1" };
}

function given(change: Partial<Container> = {}, id = OLD): Container {
  const labels = { "switchyard.owner": OWNER, "switchyard.claim": "c1", "switchyard.handover": "1" };
  const container = { name: "rest", labels, running: true, restart: "unless-stopped", ...change };
  containers.set(id, container);
  return container;
}

const create = () => rollingContainerProvider.create(inputs());
const update = (change: Partial<RollingContainerInputs> = { image: "haproxy:2" }) =>
  rollingContainerProvider.update?.("rest", state(), inputs(change));
const whats = () => engine.calls.map(({ what }) => what).filter((what) => !what.startsWith("GET"));

it("creates a container that can be replaced by a handover", async () => {
  const { id, outs } = await create();
  expect(id).toBe("rest");
  expect(outs).toMatchObject({ containerId: NEW, engineId: "engine-1" });
  expect(containers.get(NEW)).toMatchObject({ name: "rest", running: true, restart: "unless-stopped" });
  const { body } = engine.calls.find(({ what }) => what === "POST /containers/create") ?? {};
  expect(body).toMatchObject({
    Labels: { SERVICE_NAME: "rest", "switchyard.owner": OWNER, "switchyard.handover": "1" },
    HostConfig: { NetworkMode: "host", Binds: ["rest-state:/state:rw"] },
  });
});

describe("a change", () => {
  it("starts the new container beside the old one, which ends by itself", async () => {
    const old = given();
    onStart = () => {
      expect(old).toMatchObject({ name: "rest", running: true, restart: "no" });
      old.running = false;
    };
    expect(await update()).toMatchObject({ outs: { containerId: NEW, claim: "c1" } });
    expect(names()).toEqual({ [NEW]: "rest" });
    expect(whats().indexOf(`POST /containers/${OLD}/update`)).toBeLessThan(
      whats().indexOf(`POST /containers/${NEW}/start`),
    );
  });

  it("leaves an old container alone that still has connections, until it has ended", async () => {
    const old = given();
    let nowMs = 0;
    vi.spyOn(Date, "now").mockImplementation(() => (nowMs += 1000));
    await update();
    expect(names()).toEqual({ [OLD]: "rest-old-0123456789ab", [NEW]: "rest" });
    expect(whats()).not.toContain(`POST /containers/${OLD}/stop`);
    old.running = false;
    await rollingContainerProvider.read?.("rest", { ...state(), containerId: NEW });
    expect(names()).toEqual({ [NEW]: "rest" });
  });

  it("of the restart policy needs no new container", async () => {
    const old = given();
    expect(await update({ restart: "always" })).toMatchObject({ outs: { containerId: OLD } });
    expect(old.restart).toBe("always");
  });

  it("of the URL alone needs no new container, unless it is another engine's", async () => {
    given();
    const diff = () =>
      rollingContainerProvider.diff?.("", { ...state(), host: "tcp://there:2376" }, inputs());
    expect(await diff()).toEqual({ changes: true, replaces: [], changedKeys: ["host"] });
    expect(await update({})).toMatchObject({ outs: { containerId: OLD } });
    engine.answers["GET /info"] = { ID: "engine-2" };
    expect(await diff()).toMatchObject({ replaces: ["host"] });
  });

  it("is named", async () => {
    const diff = (change: Partial<RollingContainerInputs>) =>
      rollingContainerProvider.diff?.("", state(), inputs(change));
    expect(await diff({ waitTimeoutSeconds: 9 })).toMatchObject({ changes: false });
    expect(await diff({ image: "04da6b54-80e4-46f7-96ec-b56ff0331ba9", command: ["--x"] })).toEqual({
      changes: true,
      replaces: [],
      changedKeys: ["image", "command"],
    });
    expect(await diff({ name: "other" })).toMatchObject({ replaces: ["name"] });
    // A preview that does not know the URL yet.
    expect(await diff({ host: "04da6b54-80e4-46f7-96ec-b56ff0331ba9" })).toMatchObject({ replaces: [] });
  });
});

describe("a new container that fails", () => {
  it("is removed, and the old one goes on", async () => {
    const old = given({ checks: 1 });
    onStart = (container) => (container.health = "starting");
    await expect(update()).rejects.toThrow(
      "The new container rest was not healthy within 0.3 s. The old container goes on serving. " +
        "Output of its health check: not \\u0008ready\nIts last log lines:\n  cannot bind port 80\n  \\u202eagain",
    );
    expect(names()).toEqual({ [OLD]: "rest" });
    expect(old).toMatchObject({ running: true, restart: "unless-stopped" });
  });

  it("is removed as soon as it ends", async () => {
    given({ checks: 1 });
    onStart = (container) => (container.running = false);
    await expect(update({ image: "haproxy:2", waitTimeoutSeconds: 60 })).rejects.toThrow(
      "The new container rest ended with exit code 3. The old container goes on serving",
    );
  });

  it("and whose predecessor has ended meanwhile brings that back", async () => {
    const old = given();
    onStart = (container) => {
      old.running = false;
      container.restarts = 1;
      container.health = "unhealthy";
    };
    await expect(update()).rejects.toThrow(
      "The new container rest ended. The old container was started again",
    );
    expect(old).toMatchObject({ name: "rest", running: true, restart: "unless-stopped" });
  });

  it("does not show the environment", async () => {
    engine.answers["POST /containers/create"] = new Error("No such image: haproxy:2");
    const error = (await update()?.catch((thrown: unknown) => thrown)) as Error;
    expect(error.message).toBe(
      `Docker rejected container rest: No such image: haproxy:2 (500 for POST /containers/create at ${engine.host})`,
    );
  });
});

describe("a container of an earlier version", () => {
  const earlier = (change: Partial<Container> = {}) => given({ labels: {}, volume: "rest-state", ...change });

  it.each([
    ["without an owner", {}],
    ["with one", { labels: { "switchyard.owner": OWNER } }],
  ])("%s is stopped first, and left for Pulumi to delete", async (_case, change) => {
    const old = earlier(change);
    onStart = () => {
      expect(old.running).toBe(false);
    };
    await create();
    expect(names()).toEqual({ [OLD]: "rest-old-0123456789ab", [NEW]: "rest" });
  });

  it("may lack volumes that were added since", async () => {
    earlier();
    const volumes = [
      { volumeName: "rest-state", containerPath: "/state" },
      { volumeName: "rest-secrets", containerPath: "/secrets" },
    ];
    await rollingContainerProvider.create({ ...inputs(), volumes });
    expect(names()).toEqual({ [OLD]: "rest-old-0123456789ab", [NEW]: "rest" });
  });

  it("is started again if the new one fails", async () => {
    const old = earlier({ labels: { "switchyard.stack": OWNER } });
    onStart = (container) => (container.running = false);
    await expect(create()).rejects.toThrow("The old container was started again");
    expect(old).toMatchObject({ name: "rest", running: true });
    expect(names()).toEqual({ [OLD]: "rest" });
  });
});

it.each([
  ["that is no stack's", {}, "no stack of Switchyard"],
  ["of another stack", { labels: { "switchyard.owner": "bank/dev" } }, "stack bank/dev"],
  [
    "of another stack's earlier version",
    { labels: { "switchyard.stack": "bank/dev" }, volume: "rest-state" },
    "stack bank/dev",
  ],
])("does not touch a container %s", async (_case, change: Partial<Container>, whose) => {
  given({ labels: {}, ...change });
  await expect(create()).rejects.toThrow(
    `A container named rest exists on ${engine.host} and belongs to ${whose}, not to switchyard/dev. ` +
      `Rename it (docker -H ${engine.host} rename rest NAME), or remove it (docker -H ${engine.host} rm -f rest)`,
  );
  expect(whats()).toEqual([]);
});

describe("after an interrupted run", () => {
  it("a new container that has not been started is removed, and the old one gets its restart policy back", async () => {
    const old = given({ restart: "no", checks: 1 });
    given({ name: "rest-next", running: false }, NEW);
    onStart = () => {
      expect(old.restart).toBe("no");
      old.running = false;
    };
    await update();
    expect(whats().slice(0, 3)).toEqual([
      `POST /containers/${NEW}/stop`,
      `DELETE /containers/${NEW}`,
      `POST /containers/${OLD}/update`,
    ]);
    expect(names()).toEqual({ [NEW]: "rest" });
  });

  it.each([
    ["before the old one has lost its name", "rest"],
    ["after that", "rest-old-0123456789ab"],
  ])("a new container that serves is kept until its own successor does, %s", async (_case, name) => {
    given({ name, running: false });
    const serving = given({ name: "rest-next" }, NEXT);
    onStart = () => {
      expect(serving).toMatchObject({ name: "rest", running: true });
      serving.running = false;
    };
    await create();
    expect(names()).toEqual({ [NEW]: "rest" });
  });
});

describe("refresh", () => {
  const read = () => rollingContainerProvider.read?.("rest", state());

  it("finds a container that is as it should be", async () => {
    given();
    expect(await read()).toEqual({ id: "rest", props: state(), inputs: inputs() });
  });

  it.each([
    ["has been removed", undefined],
    ["has been stopped", { running: false }],
    ["has been replaced by an interrupted run", { name: "rest-old-0123456789ab" }],
  ])("has it created again if it %s", async (_case, change) => {
    if (change !== undefined) given(change);
    expect((await read())?.id).toBe("");
  });

  it("finds a changed restart policy, as an interrupted run leaves it", async () => {
    given({ restart: "no" });
    const found = await read();
    expect(found).toMatchObject({ inputs: { restart: "no" }, props: { restart: "no" } });
    expect(await rollingContainerProvider.diff?.("", { ...state(), restart: "no" }, inputs())).toMatchObject({
      changes: true,
      changedKeys: ["restart"],
    });
  });
});

describe("delete", () => {
  const remove = () => rollingContainerProvider.delete?.("rest", state());

  it("leaves nothing, and can be repeated", async () => {
    given({}, NEW);
    given({ name: "rest-old-0123456789ab" });
    await remove();
    expect(names()).toEqual({});
    expect(whats()).toContain(`POST /containers/${OLD}/stop`);
    await remove();
  });

  it("keeps what another resource has taken over", async () => {
    given({ labels: { "switchyard.owner": OWNER, "switchyard.claim": "c2" } }, NEW);
    given({ name: "rest-old-0123456789ab" });
    await remove();
    expect(names()).toEqual({ [NEW]: "rest", [OLD]: "rest-old-0123456789ab" });
  });
});
