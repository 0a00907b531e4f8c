import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { fakeEngine, type FakeEngine } from "./fake-engine";
import { firewallProvider } from "./firewall";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
  engine.answers["POST /containers/firewall/exec"] = { Id: "e1" };
  engine.answers["POST /exec/e1/start"] = Buffer.from("");
});
afterEach(() => {
  engine.close();
});

const inputs = () => ({
  host: engine.host,
  container: "firewall",
  containerId: "c1",
  image: "haproxy:1",
  timeoutSeconds: 0.3,
});
const answer = (ExitCode: number) => (engine.answers["GET /exec/e1/json"] = { ExitCode });
const whats = () => engine.calls.map(({ what }) => what);

describe("FirewallInForce", () => {
  it("waits for the rules", async () => {
    let left = 2;
    engine.answers["GET /exec/e1/json"] = () => ({ ExitCode: left-- > 0 ? 1 : 0 });
    await firewallProvider.create({ ...inputs(), timeoutSeconds: 20 });
    expect(left).toBe(-1);
  });

  it("explains how to do without, with what the container said", async () => {
    answer(1);
    engine.answers["GET /containers/firewall/logs"] = Buffer.from("netlink: Error: not supported\n");
    await expect(firewallProvider.create(inputs())).rejects.toThrow(
      /pulumi config set firewall false.*Error: not supported/s,
    );
  });

  it("is gone if its container runs without the rules, and not if its container is missing", async () => {
    answer(1);
    expect((await firewallProvider.read?.("firewall", inputs()))?.id).toBe("firewall");
    engine.answers["GET /containers/firewall/json"] = { Id: "c1", State: { Running: true } };
    expect((await firewallProvider.read?.("firewall", inputs()))?.id).toBe("");
    answer(0);
    expect((await firewallProvider.read?.("firewall", inputs()))?.id).toBe("firewall");
  });

  it("stops the container, which would put the rules back, and takes them out of the kernel", async () => {
    engine.answers["POST /containers/firewall/stop"] = {};
    engine.answers["POST /containers/create"] = { Id: "c2" };
    engine.answers["POST /containers/c2/start"] = {};
    engine.answers["POST /containers/c2/wait"] = { StatusCode: 0 };
    engine.answers["DELETE /containers/c2"] = {};
    await firewallProvider.delete?.("firewall", inputs());
    expect(whats().slice(0, 5)).toEqual([
      "GET /containers/firewall/json",
      "POST /containers/firewall/stop",
      "POST /containers/create",
      "POST /containers/c2/start",
      "POST /containers/c2/wait",
    ]);
    expect(whats()).toContain("DELETE /containers/c2");
  });

  it("leaves alone that of a new machine at the same address", async () => {
    engine.answers["GET /containers/firewall/json"] = { Id: "of the new machine" };
    await firewallProvider.delete?.("firewall", inputs());
    expect(whats()).toEqual(["GET /containers/firewall/json"]);
  });
});
