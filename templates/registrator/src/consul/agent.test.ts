import { expect, it } from "vitest";
import { serve } from "../../../../lib/testing";
import { Consul } from "./agent";

it("registers a service in maintenance mode in a single write", async () => {
  const bodies: unknown[] = [];
  const endpoint = await serve((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      bodies.push(JSON.parse(body));
      response.end();
    });
  });
  const consul = new Consul(endpoint, undefined);
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

it("finds the services in maintenance mode", async () => {
  const asked: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    asked.push(request.url);
    const checks = { "_service_maintenance:a/b": { Notes: "upgrade" }, "service:c": { Notes: "" } };
    response.end(JSON.stringify(checks));
  });
  expect(await new Consul(endpoint, undefined).maintenance()).toEqual(new Map([["a/b", "upgrade"]]));
  expect(asked).toEqual(["/v1/agent/checks?filter=Name%20%3D%3D%20%22Service%20Maintenance%20Mode%22"]);
});

it("sends the token, and encodes the ID as one path segment", async () => {
  const seen: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    seen.push(request.url, request.headers["x-consul-token"]?.toString());
    response.writeHead(404).end("Unknown service");
  });
  await new Consul(endpoint, "secret").deregister("a/b c?%");
  expect(seen).toEqual(["/v1/agent/service/deregister/a%2Fb%20c%3F%25", "secret"]);
});
