import { beforeEach, expect, it } from "vitest";
import { MachineError } from "../lib/errors";
import { DynamicProviders } from "./dynamic";
import type { Goal } from "./goal";
import { Providers } from "./providers";
import { refreshed } from "./refresh";
import { Run } from "./run";
import type { ResourceState } from "./state";
import type { WireMap } from "./wire";

const urnOf = (type: string, name: string) => `urn:pulumi:dev::p::${type}::${name}`;
const resource = (type: string, name: string, outputs: WireMap, machine?: string): ResourceState => ({
  urn: urnOf(type, name),
  type: `pulumi-nodejs:dynamic/switchyard:${type}`,
  custom: true,
  id: name,
  inputs: {},
  outputs,
  dependencies: [],
  propertyDependencies: {},
  ...(machine !== undefined && { deletedWith: urnOf("Vm", machine) }),
});
const node = (name: string): ResourceState[] => [
  resource("SecretFiles", `files-${name}`, { host: `ssh://${name}` }, name),
  // Their providers remove them from the other nodes.
  resource("SwarmMember", `member-${name}`, { host: `ssh://${name}`, managers: ["ssh://one", "ssh://two"] }),
  resource("DockerEngine", name, { host: `ssh://${name}` }, name),
  resource("Vm", name, {}),
];
const volumes = resource("NodeVolumes", "volumes", { nodes: [{ host: "ssh://one" }, { host: "ssh://two" }] });

let asked: string[];
let lines: string[];
beforeEach(() => {
  asked = [];
  lines = [];
});
/** What the refresh finds if these reads fail. A string is the name of what is gone. */
const refresh = (all: ResourceState[], failing: Record<string, Error | "gone">) =>
  refreshed(
    all,
    (old) => {
      const key = old.urn.split("::").slice(2).join(" ");
      asked.push(key);
      const failure = failing[key];
      if (failure instanceof Error) return Promise.reject(failure);
      return Promise.resolve(failure === "gone" ? undefined : { ...old, drift: ["seen"] });
    },
    (line) => void lines.push(line),
  );
const unseen = (resources: readonly ResourceState[]) =>
  resources.filter(({ drift }) => drift === undefined).map(({ id }) => id);

it("keeps what is on a machine that cannot be asked, and says so once", async () => {
  const { resources, gone } = await refresh([...node("one"), ...node("two"), volumes], {
    "DockerEngine two": new MachineError("it could not set itself up"),
    "NodeVolumes volumes": new Error("ssh: two does not answer"),
  });
  expect(unseen(resources)).toEqual(["files-two", "member-two", "two", "volumes"]);
  expect(gone).toEqual([]);
  expect(lines).toEqual([
    "two was not asked, and what is on it is taken to be as the state has it: it could not set itself up",
  ]);
  expect(asked).not.toContain("SecretFiles files-two");
  expect(asked).not.toContain("SwarmMember member-two");
});

it("asks nothing on a machine that is gone", async () => {
  const all = [...node("one"), ...node("two")];
  const { resources, gone, absent } = await refresh(all, { "Vm two": "gone" });
  expect([...absent]).toEqual([urnOf("Vm", "two")]);
  expect(unseen(resources)).toEqual(["files-two", "member-two", "two"]);
  expect(gone.map(({ urn }) => urn)).toEqual([urnOf("Vm", "two")]);
  expect(asked).not.toContain("DockerEngine two");
  expect(lines[1]).toContain("two was not asked");
});

it("asks nothing on a machine that a failed replacement has left out of the state", async () => {
  const left = node("two").filter(({ id, type }) => id !== "two" || type.endsWith(":DockerEngine"));
  const { resources, gone, absent } = await refresh([...node("one"), ...left], {});
  expect(unseen(resources)).toEqual(["files-two", "member-two", "two"]);
  expect(gone).toEqual([]);
  expect([...absent]).toEqual([urnOf("Vm", "two")]);
});

it.each(["SecretFiles files-one", "SwarmMember member-one", "DockerEngine one"])(
  "fails if another machine has no answer for %s",
  async (key) => {
    const failing = { "DockerEngine two": new MachineError("off"), [key]: new Error("no space left") };
    await expect(refresh([...node("one"), ...node("two")], failing)).rejects.toThrow(
      `"${key.split(" ")[1] ?? ""}" cannot be read: no space left`,
    );
  },
);

it("fails at an engine on a machine that the program did not create", async () => {
  const own = resource("DockerEngine", "mine", { host: "ssh://mine" });
  await expect(refresh([own], { "DockerEngine mine": new Error("no answer") })).rejects.toThrow(
    '"mine" cannot be read: no answer',
  );
});

it("asks an engine before what is on its machine, which may have to boot", async () => {
  await refresh([...node("one"), volumes], {});
  expect(asked.slice(0, 2)).toEqual(["Vm one", "DockerEngine one"]);
});

it("what is bound to a machine that was gone is replaced once the machine is created again", async () => {
  const [files] = node("two");
  if (files === undefined) throw new Error("no resource");
  const world = { stack: "p/dev", providerInputs: () => ({}), inState: () => true, say: () => undefined };
  const plan = async (gone: string[]) => {
    const run = new Run({
      dryRun: true,
      state: { version: 1, stack: "dev", resources: [files], outputs: {} },
      replace: new Set(),
      absent: new Set(gone),
      providers: new Providers(world, new DynamicProviders("p", {})),
      save: () => undefined,
      report: () => undefined,
    });
    const __provider = "exports.handler = () => ({})";
    Object.assign(files, { inputs: { __provider }, outputs: { __provider } });
    const goal = { ...files, name: "files-two", aliases: [], ignoreChanges: [], replaceOnChanges: [] };
    await run.register({ ...goal, replaceWith: [urnOf("Vm", "two")] } as unknown as Goal);
    return run.changes.map(({ operation }) => operation);
  };
  expect(await plan([])).toEqual(["same"]);
  expect(await plan([urnOf("Vm", "two")])).toEqual(["replace"]);
});
