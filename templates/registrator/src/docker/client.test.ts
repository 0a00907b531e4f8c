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
  const actor = { Action: "kill", Actor: { ID: "x", Attributes: { name: "web", signal: "15" } } };
  const expected = { id: "x", action: "kill", attributes: { name: "web", signal: "15" } };
  expect(
    eventOf(JSON.stringify({ status: "kill", id: "x", from: "i", Type: "container", ...actor })),
  ).toEqual(expected);
  expect(eventOf(`\u001e${JSON.stringify({ Type: "container", ...actor })}`)).toEqual(expected);
  expect(["", "{", "{}", '{"Action":"start"}', "null"].map(eventOf)).toEqual(Array(5).fill(undefined));
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
