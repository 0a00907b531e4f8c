import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { consulAclProvider, consulGuardProvider } from "./consul-acl";
import { fakeEngine, type Call, type FakeEngine } from "./fake-engine";

let engine: FakeEngine;
/** What `switchyard-acl` and `switchyard-tls` answer, by command: an exit code and a line. */
let results: Record<string, readonly [number, string]>;
let ran: string[];
beforeEach(async () => {
  engine = await fakeEngine();
  results = {};
  ran = [];
  engine.answers["POST /containers/consul/exec"] = ({ body }: Call) => {
    const [, command = ""] = (body as { Cmd: string[] }).Cmd;
    ran.push(command);
    const [exitCode, line] = results[command] ?? [0, ""];
    const id = String(ran.length);
    engine.answers[`POST /exec/${id}/start`] = framed(line);
    engine.answers[`GET /exec/${id}/json`] = { ExitCode: exitCode };
    return { Id: id };
  };
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

const inputs = () => ({
  hosts: [engine.host],
  container: "consul",
  version: "1",
  certificates: "1",
  timeoutSeconds: 0,
});
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
  expect(ran).toEqual(["settle", "denies", "encrypts", "deny", "encrypt", "require", "prune", "check"]);
  expect(restarts()).toBe(1);
});

test("agents that connect without TLS are restarted, and take no plain connection once all have been", async () => {
  results["encrypts"] = [1, ""];
  await consulGuardProvider.create({ ...inputs(), hosts: [engine.host, engine.host] });
  expect(ran.filter((command) => command.startsWith("enc") || command === "require")).toEqual(
    ["encrypts", "encrypt", "encrypts", "encrypt", "require", "require"], // prettier-ignore
  );
  expect(restarts()).toBe(2);
});

test("an agent that denies and encrypts is not restarted", async () => {
  await consulGuardProvider.create(inputs());
  expect(ran).toEqual(["settle", "denies", "encrypts", "require", "prune", "check"]);
  expect(restarts()).toBe(0);
});

test("an agent that does not come back is reported with its log", async () => {
  results["encrypts"] = [1, ""];
  engine.answers["GET /containers/consul/json"] = { State: { Health: { Status: "starting", Log: [] } } };
  engine.answers["GET /containers/consul/logs"] = framed("==> Failed to load cert/key pair");
  await expect(consulGuardProvider.create(inputs())).rejects.toThrow(
    /did not come back.*Failed to load cert/s,
  );
  expect(ran).not.toContain("require");
});

test("a certificate that an agent cannot load is reported", async () => {
  results["require"] = [1, "Error reloading: \u001b[31mFailed to load cert/key pair"];
  await expect(consulGuardProvider.create(inputs())).rejects.toThrow(
    /did not take its certificate .*Error reloading: Failed to load cert\/key pair/,
  );
});

test("an agent that takes plain connections again, or allows everything, is found", async () => {
  const id = async () => (await consulGuardProvider.read?.("guard", inputs()))?.id;
  expect(await id()).toBe("guard");
  for (const question of ["requires", "denies"]) {
    results = { [question]: [1, ""] };
    expect(await id()).toBe("");
  }
});

test("an agent in another container, perhaps with empty data, is looked at again", async () => {
  const diff = (before: string[] | undefined, now: string[]) =>
    consulGuardProvider.diff?.(
      "guard",
      { ...inputs(), ...(before && { containers: before }) },
      { ...inputs(), containers: now },
    );
  expect(await diff(["a", "b"], ["a", "b"])).toEqual({ changes: false });
  expect(await diff(["a", "b"], ["a", "c"])).toEqual({ changes: true });
  expect(await diff(undefined, ["a", "b"])).toEqual({ changes: true });
});

test("other certificates are reread before Consul is asked for anything", async () => {
  await consulAclProvider.update?.("acl", inputs(), { ...inputs(), version: "2" });
  expect(ran).toEqual(["apply", "agent", "check"]);
  ran = [];
  await consulAclProvider.update?.("acl", inputs(), { ...inputs(), certificates: "2" });
  expect(ran).toEqual(["reload", "apply", "agent", "check"]);
});

test("services that were registered without a current token are named", async () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue(undefined);
  results["settle"] = [0, "by-hand-1\nby-hand-2"];
  await consulGuardProvider.create(inputs());
  expect(warn.mock.calls.flat().join()).toContain("of the services by-hand-1, by-hand-2");
});
