import type { ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { serve } from "../../../../lib/testing";
import { Consul } from "./agent";

/** An agent, and the bodies of the requests that it gets. By default, it accepts all. */
async function recordingAgent(
  answer: (response: ServerResponse, body: string) => void = (response) => void response.end(),
) {
  const bodies: unknown[] = [];
  const endpoint = await serve((request, response) => {
    void text(request).then((body) => {
      bodies.push(JSON.parse(body));
      answer(response, body);
    });
  });
  return { bodies, endpoint };
}

it("registers a service in maintenance mode in a single write", async () => {
  const { bodies, endpoint } = await recordingAgent();
  const consul = new Consul(endpoint, {});
  const registration = { ID: "a", Name: "a", Address: "h", Port: 1, Tags: [], Meta: {} };
  await consul.register({ ...registration, Check: { TTL: "9h" } }, "passing");
  await consul.register({ ...registration, Check: { TTL: "9h" } }, "passing", "upgrade");
  await consul.register(registration, undefined, "");
  const mode = (Notes: string) => ({
    CheckID: "_service_maintenance:a",
    Name: "Service Maintenance Mode",
    Notes,
    TTL: "8760h",
    Status: "critical",
  });
  expect(bodies).toEqual([
    { ...registration, Check: { TTL: "9h", Status: "passing" } },
    { ...registration, Checks: [{ CheckID: "service:a", TTL: "9h", Status: "passing" }, mode("upgrade")] },
    { ...registration, Checks: [mode("")] },
  ]);
});

describe("an HTTP check that must not follow redirects", () => {
  const registration = { ID: "a", Name: "a", Address: "h", Port: 1, Tags: [], Meta: {} };
  const check = { HTTP: "http://h:1/", Interval: "10s" };
  /** An agent that refuses every field it does not know; `answer`: what it says about this one. */
  const write = async (answer: string | undefined, maintenance?: string) => {
    const { bodies, endpoint } = await recordingAgent((response, body) => {
      if (answer === undefined || !body.includes("DisableRedirects")) response.end();
      else response.writeHead(400).end(answer);
    });
    const wanted = { ...registration, Check: { ...check, DisableRedirects: true } };
    await new Consul(endpoint, {}).register(wanted, undefined, maintenance);
    return bodies;
  };
  const unknown = 'Request decode failed: json: unknown field "DisableRedirects"';

  it("is registered so", async () => {
    expect(await write(undefined)).toEqual([
      { ...registration, Check: { ...check, DisableRedirects: true } },
    ]);
  });

  it("is registered without that at an agent before 1.12, also in maintenance mode", async () => {
    expect((await write(unknown)).at(-1)).toEqual({ ...registration, Check: check });
    expect((await write(unknown, "upgrade")).at(-1)).toMatchObject({
      Checks: [{ CheckID: "service:a", ...check }, { CheckID: "_service_maintenance:a" }],
    });
  });

  it("is refused for any other reason", async () => {
    await expect(write("Invalid check: DisableRedirects is fine")).rejects.toThrow("Invalid check");
  });
});

it("finds the services in maintenance mode", async () => {
  const asked: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    asked.push(request.url);
    const checks = { "_service_maintenance:a/b": { Notes: "upgrade" }, "service:c": { Notes: "" } };
    response.end(JSON.stringify(checks));
  });
  expect(await new Consul(endpoint, {}).maintenance()).toEqual(new Map([["a/b", "upgrade"]]));
  expect(asked).toEqual(["/v1/agent/checks?filter=Name%20%3D%3D%20%22Service%20Maintenance%20Mode%22"]);
});

it("sends the token, and encodes the ID as one path segment", async () => {
  const seen: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    seen.push(request.url, request.headers["x-consul-token"]?.toString());
    response.writeHead(404).end("Unknown service");
  });
  await new Consul(endpoint, { token: "secret" }).deregister("a/b c?%");
  expect(seen).toEqual(["/v1/agent/service/deregister/a%2Fb%20c%3F%25", "secret"]);
});

describe("the only node", () => {
  const alive = (Addr: string) => ({ Addr, Status: 1 });
  it.each([
    ["this machine alone", [alive("127.0.0.1")], true],
    ["another machine alone", [alive("192.0.2.200")], false],
    ["two nodes", [alive("127.0.0.1"), alive("192.0.2.200")], false],
    [
      "another node that failed and may return",
      [alive("127.0.0.1"), { Addr: "192.0.2.200", Status: 4 }],
      false,
    ],
    ["another node that left", [{ Addr: "192.0.2.200", Status: 3 }, alive("127.0.0.1")], true],
    ["nodes that the token may not see", [], false],
  ])("%s", async (_, members, expected) => {
    const endpoint = await serve((_request, response) => {
      response.end(JSON.stringify(members));
    });
    expect(await new Consul(endpoint, {}).isOnlyNode()).toBe(expected);
  });

  it("is not this machine if the agent runs elsewhere", async () => {
    expect(await new Consul({ host: "192.0.2.200", port: 8500 }, {}).isOnlyNode()).toBe(false);
  });
});
