import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { consulAclProvider, consulGuardProvider } from "./consul-acl";
import { fakeEngine, type Call, type FakeEngine } from "./fake-engine";

let engine: FakeEngine;
/** What `switchyard-acl` answers, by its command: an exit code and a line. */
let results: Record<string, readonly [number, string]>;
let ran: string[];
beforeEach(async () => {
  engine = await fakeEngine();
  results = {};
  ran = [];
  let last: readonly [number, string] = [0, ""];
  engine.answers["POST /containers/consul/exec"] = ({ body }: Call) => {
    const [, command = ""] = (body as { Cmd: string[] }).Cmd;
    ran.push(command);
    last = results[command] ?? [0, ""];
    return { Id: "e1" };
  };
  engine.answers["POST /exec/e1/start"] = () => framed(last[1]);
  engine.answers["GET /exec/e1/json"] = () => ({ ExitCode: last[0] });
  engine.answers["POST /containers/consul/restart"] = {};
  engine.answers["GET /containers/consul/json"] = { State: { Health: { Status: "healthy" } } };
});
afterEach(() => {
  vi.restoreAllMocks();
  engine.close();
});

function framed(text: string): Buffer {
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

const inputs = () => ({ hosts: [engine.host], container: "consul", version: "1", timeoutSeconds: 0 });
const restarts = () => engine.calls.filter(({ what }) => what.endsWith("/restart")).length;

test("policies and tokens are applied, the agents get theirs, and the rights are checked", async () => {
  await consulAclProvider.create(inputs());
  expect(ran).toEqual(["apply", "agent", "check"]);
});

test("a token without its rights fails with a sentence", async () => {
  results["check"] = [2, 'Consul\'s token "registrator" lacks service:write'];
  await expect(consulAclProvider.create(inputs())).rejects.toThrow(
    "Consul's tokens did not get the rights that they need within 0 s: switchyard-acl check: Consul's token \"registrator\" lacks service:write",
  );
});

test("rights that got lost are given again; a Consul that cannot be asked is no loss", async () => {
  const id = async () => (await consulAclProvider.read?.("acl", inputs()))?.id;
  expect(await id()).toBe("acl");
  results["check"] = [2, "lost"];
  expect(await id()).toBe("");
  results["check"] = [1, "no answer"];
  expect(await id()).toBe("acl");
  engine.answers["POST /containers/consul/exec"] = 409;
  expect(await id()).toBe("acl");
});

test("an agent that allows everything is restarted to deny, and earlier tokens are removed after that", async () => {
  results["denies"] = [1, ""];
  await consulGuardProvider.create(inputs());
  expect(ran).toEqual(["settle", "denies", "deny", "prune", "check"]);
  expect(restarts()).toBe(1);
});

test("an agent that denies is not restarted", async () => {
  await consulGuardProvider.create(inputs());
  expect(ran).toEqual(["settle", "denies", "prune", "check"]);
  expect(restarts()).toBe(0);
});

test("services that were registered without a current token are named", async () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue(undefined);
  results["settle"] = [0, "by-hand-1\nby-hand-2"];
  await consulGuardProvider.create(inputs());
  expect(warn.mock.calls.flat().join()).toContain("of the services by-hand-1, by-hand-2");
});
