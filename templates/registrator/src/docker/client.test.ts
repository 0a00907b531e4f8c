import { expect, it } from "vitest";
import { serve } from "../../../../lib/testing";
import { agreeOn, Docker, eventOf } from "./client";

it.each([
  ["1.41", "1.12", "1.41"],
  ["1.52", "1.44", "1.52"],
  ["1.60", "1.44", "1.52"],
  ["1.70", "1.55", "1.55"],
  ["1.9", "1.9", "1.9"],
  [undefined, undefined, ""],
])("with an engine of API %s down to %s uses %s", (offered, oldest, version) => {
  expect(agreeOn(offered, oldest)).toBe(version);
});

it("reads events with and without the fields that API 1.52 removed", () => {
  const actor = {
    Action: "kill",
    Actor: { ID: "x", Attributes: { name: "web", signal: "15" } },
    timeNano: 1_500_000_000,
  };
  const expected = {
    id: "x",
    action: "kill",
    attributes: { name: "web", signal: "15" },
    atMs: 1_500,
    ageMs: 0,
  };
  expect(
    eventOf(JSON.stringify({ status: "kill", id: "x", from: "i", Type: "container", ...actor })),
  ).toEqual(expected);
  expect(eventOf(`\u001e${JSON.stringify({ Type: "container", ...actor })}`)).toEqual(expected);
  expect(["", "{", "{}", '{"Action":"start"}', "null"].map(eventOf)).toEqual(Array(5).fill(undefined));
});

it("reads a network's events as events of the container", () => {
  const event = (Attributes: Record<string, string>) =>
    eventOf(
      JSON.stringify({ Type: "network", Action: "connect", Actor: { ID: "net", Attributes }, timeNano: 2e6 }),
    );
  const attributes = { container: "x", name: "bridge" };
  expect(event(attributes)).toEqual({ id: "x", action: "connect", attributes, atMs: 2, ageMs: 0 });
  expect(event({ name: "bridge" })).toBeUndefined();
});

it("reads events across chunk boundaries and reports the end of the stream", async () => {
  const event = (action: string) => JSON.stringify({ Type: "container", Action: action, Actor: { ID: "x" } });
  const urls: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    urls.push(request.url);
    if (request.url === "/version") {
      response.end('{"Version":"29.0","ApiVersion":"1.52","MinAPIVersion":"1.44"}');
      return;
    }
    if (request.url?.includes("&until=")) {
      response.end();
      return;
    }
    const text = `${event("start")}\n${event("health_status: healthy")}\n`;
    response.write(text.slice(0, 20));
    setTimeout(() => response.end(text.slice(20)), 20);
  });
  const docker = new Docker(endpoint);
  expect(await docker.connect()).toBe("29.0, API 1.52");
  const actions: string[] = [];
  const { closed } = await docker.events(({ action }) => actions.push(action));
  await closed;
  expect(actions).toEqual(["start", "health_status: healthy"]);
  expect(urls[1]).toMatch(/^\/v1\.52\/events\?filters=/);
});

it("passes on the past events that it has not seen, with their age by the engine's clock", async () => {
  const date = "Sat, 28 Nov 2026 09:00:00 GMT";
  const nowMs = Date.parse(date);
  const kill = (ID: string, secondsAgo: number) =>
    JSON.stringify({
      Action: "kill",
      Actor: { ID },
      timeNano: (nowMs - secondsAgo * 1000) * 1e6,
    });
  const endpoint = await serve((request, response) => {
    const url = request.url ?? "";
    response.setHeader("date", date);
    if (url === "/version") response.end('{"ApiVersion":"1.41"}');
    else if (url.includes(`&since=${nowMs / 1000 - 3600}&until=${nowMs / 1000}`))
      response.end(`${kill("old", 20)}\n${kill("recent", 10)}\n`);
    else if (url.endsWith(`&since=${nowMs / 1000}`)) response.end(`${kill("live", 0)}\n`);
    else response.writeHead(500).end();
  });
  const docker = new Docker(endpoint);
  const follow = async () => {
    const seen: [string, number][] = [];
    await docker.connect();
    const { closed } = await docker.events(({ id, ageMs }) => seen.push([id, ageMs]));
    await closed;
    return seen;
  };
  expect(await follow()).toEqual([
    ["old", 20_000],
    ["recent", 10_000],
    ["live", 0],
  ]);
  expect(await follow()).toEqual([["live", 0]]);
});
