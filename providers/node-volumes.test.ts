import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeEngine, type Call, type FakeEngine } from "./fake-engine";
import { fits, nodeVolumesProvider, REMOVE_VOLUMES } from "./node-volumes";

let one: FakeEngine;
let two: FakeEngine;
beforeEach(async () => {
  [one, two] = await Promise.all([fakeEngine(), fakeEngine()]);
});
afterEach(() => {
  one.close();
  two.close();
  vi.unstubAllEnvs();
});

const swarmNode = (id: string, labels: Record<string, string> = {}) => ({
  ID: id,
  Spec: { Role: "manager", Labels: labels },
  Description: {
    Hostname: `host-${id}`,
    Platform: { OS: "linux", Architecture: "x86_64" },
    Engine: { Labels: { kind: "vm" } },
  },
});

const inputs = (volumes: string[], constraints: string[] = []) => ({
  owner: "switchyard/dev",
  host: one.host,
  nodes: [
    { name: "one", id: "n1", host: one.host },
    { name: "two", id: "n2", host: two.host },
  ],
  groups: [{ volumes, constraints }],
});
type Inputs = ReturnType<typeof inputs> & { readonly placed?: Record<string, string> };

const check = async (news: Inputs, placed?: Record<string, string>) => {
  const olds = placed === undefined ? {} : { ...news, placed };
  const result = await nodeVolumesProvider.check?.(olds as Inputs, news);
  return result?.failures?.[0]?.reason ?? (result?.inputs as Inputs).placed;
};

describe("the node of a volume", () => {
  it("is the first one, if nothing else decides", async () => {
    expect(await check(inputs(["a", "b"]))).toEqual({ a: "one", b: "one" });
  });

  it("is the first one that fits the constraints", async () => {
    one.answers["GET /nodes"] = [swarmNode("n1"), swarmNode("n2", { disk: "ssd" })];
    expect(await check(inputs(["a"], ["node.labels.disk==ssd"]))).toEqual({ a: "two" });
    expect(await check(inputs(["a"], ["node.labels.disk==tape"]))).toBe(
      "no node fits the placement constraints node.labels.disk==tape: change them",
    );
  });

  it("stays the one that has it, whether this state knows it or an earlier stack left it", async () => {
    expect(await check(inputs(["a", "b"]), { a: "two" })).toEqual({ a: "two", b: "two" });
    two.answers["GET /volumes/b"] = { Name: "b" };
    expect(await check(inputs(["a", "b"]))).toEqual({ a: "two", b: "two" });
  });

  it("must be the same for all volumes of a service, and in the stack", async () => {
    two.answers["GET /volumes/b"] = { Name: "b" };
    expect(await check(inputs(["a", "b"]), { a: "one" })).toMatch(
      /^volume a is on node one, but volume b, .* is on node two: give one of them another name/,
    );
    one.answers["GET /volumes/b"] = { Name: "b" };
    expect(await check(inputs(["b"]))).toMatch(/^volume b is on node one and on node two: remove the one/);
    expect(await check(inputs(["a"]), { a: "gone" })).toMatch(
      /^volume a is on node gone, which is no longer in the stack: put the node back, or /,
    );
  });

  it("is refused to a stack that was renamed, whose services would get empty volumes", async () => {
    const before = { ...inputs(["dev_data"]), placed: { dev_data: "one" } };
    const news = { ...inputs(["live_data"]), owner: "switchyard/live" };
    const refusal = {
      property: "",
      reason: expect.stringContaining("from switchyard/dev, but its volumes (dev_data)") as string,
    };
    expect(await nodeVolumesProvider.check?.(before, news)).toMatchObject({ failures: [refusal] });
    expect(await nodeVolumesProvider.check?.({ ...before, placed: {} }, news)).toMatchObject({
      failures: [],
    });
  });

  it("is open in a preview that does not know or reach the nodes", async () => {
    const node = { name: "one", id: "?", host: "04da6b54" };
    expect(await check({ ...inputs(["a"]), nodes: [node, { ...node, name: "two" }] })).toBeUndefined();
    expect(await check({ ...inputs(["a"]), nodes: [node] })).toEqual({ a: "one" });
  });
});

it("compares a node with constraints", () => {
  const node = swarmNode("n1", { disk: "ssd" });
  const good = ["node.id==n1", "node.hostname != x", "node.role==manager", "engine.labels.kind==VM", "node.labels.none!=x", "node.platform.arch==x86_64"]; // prettier-ignore
  for (const constraint of good) expect([constraint, fits(node, [constraint])]).toEqual([constraint, true]);
  for (const constraint of ["node.id==n2", "node.labels.disk!=ssd", "node.labels.none==x"])
    expect([constraint, fits(node, [constraint])]).toEqual([constraint, false]);
});

it("creates a volume with its owner, uses one that is there, and refuses those of others", async () => {
  one.answers["POST /volumes/create"] = {};
  const { outs } = await nodeVolumesProvider.create(inputs(["a"]));
  expect(outs).toMatchObject({ placed: { a: "one" } });
  const made = one.calls.find(({ what }) => what === "POST /volumes/create");
  expect(made?.body).toEqual({ Name: "a", Labels: { "switchyard.owner": "switchyard/dev" } });

  one.answers["GET /volumes/a"] = { Name: "a", Labels: { "switchyard.owner": "switchyard/dev" } };
  one.answers["POST /volumes/create"] = 500;
  await nodeVolumesProvider.create(inputs(["a"]));
  one.answers["GET /volumes/a"] = { Name: "a", Labels: null };
  await expect(nodeVolumesProvider.create(inputs(["a"]))).rejects.toThrow("belongs to somebody else");
  one.answers["GET /volumes/a"] = { Name: "a", Labels: { "switchyard.owner": "switchyard/other" } };
  await expect(nodeVolumesProvider.create(inputs(["a"]))).rejects.toThrow(
    "belongs to stack switchyard/other",
  );
});

it("notices a volume that is gone", async () => {
  one.answers["GET /volumes/a"] = { Name: "a" };
  const props = { ...inputs(["a", "b"]), placed: { a: "one", b: "one" } };
  expect((await nodeVolumesProvider.read?.("volumes", props))?.props).toMatchObject({ placed: { a: "one" } });
  const diff = (placed: Record<string, string>) =>
    nodeVolumesProvider.diff?.("", { ...props, placed }, props);
  expect(await diff({ a: "one" })).toMatchObject({ changes: true });
  expect(await diff(props.placed)).toMatchObject({ changes: false });
});

it("keeps the volumes on delete, unless it is told to remove them: then all of the stack, on every node", async () => {
  const listed = ({ query }: Call) => {
    expect(JSON.parse(query["filters"] ?? "")).toEqual({ label: ["switchyard.owner=switchyard/dev"] });
    return { Volumes: [{ Name: "b" }] };
  };
  one.answers["GET /volumes"] = two.answers["GET /volumes"] = listed;
  two.answers["DELETE /volumes/b"] = {};
  const removals = () => [...one.calls, ...two.calls].filter(({ what }) => what.startsWith("DELETE")).length;
  const props = { ...inputs(["a"]), placed: { a: "one" } };
  await nodeVolumesProvider.delete?.("volumes", props);
  expect(removals()).toBe(0);
  vi.stubEnv(REMOVE_VOLUMES, "true");
  await nodeVolumesProvider.delete?.("volumes", props);
  expect(removals()).toBe(2);
});
