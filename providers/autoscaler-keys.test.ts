import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { autoscalerKeysProvider } from "./autoscaler-keys";
import { fakeEngine, type Call, type FakeEngine } from "./fake-engine";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  vi.restoreAllMocks();
  engine.close();
});

const inputs = () => ({ host: engine.host, container: "consul" });

function answerWith(ExitCode: number): string[][] {
  const ran: string[][] = [];
  engine.answers["POST /containers/consul/exec"] = ({ body }: Call) => {
    ran.push((body as { Cmd: string[] }).Cmd);
    return { Id: "1" };
  };
  engine.answers["POST /exec/1/start"] = Buffer.alloc(0);
  engine.answers["GET /exec/1/json"] = { ExitCode };
  return ran;
}

test("the records of sleeping services and all else that the autoscaler wrote are removed after it", async () => {
  const ran = answerWith(0);
  await autoscalerKeysProvider.delete?.("keys", inputs());
  expect(ran.map((command) => command.join(" "))).toEqual([
    "consul kv delete -recurse service/haproxy/sleeping/",
    "consul kv delete -recurse service/autoscaler/",
  ]);
});

test("a Consul that does not answer keeps nobody from removing the stack, but is named", async () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue();
  answerWith(1);
  await autoscalerKeysProvider.delete?.("keys", inputs());
  engine.answers["POST /containers/consul/exec"] = 404;
  await autoscalerKeysProvider.delete?.("keys", inputs());
  expect(warn).toHaveBeenCalledTimes(2);
  expect(warn.mock.lastCall?.[0]).toContain("consul kv delete -recurse service/haproxy/sleeping/");
});

test("nothing runs before that, and another address is an update", async () => {
  await autoscalerKeysProvider.create(inputs());
  expect(await autoscalerKeysProvider.diff?.("keys", inputs(), inputs())).toEqual({ changes: false });
  expect(await autoscalerKeysProvider.diff?.("keys", inputs(), { ...inputs(), host: "unix:///x" })).toEqual({
    changes: true,
  });
  expect(engine.calls).toEqual([]);
});
