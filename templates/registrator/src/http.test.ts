import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { Consul } from "./consul/agent";
import { Docker } from "./docker/client";
import { HttpClient, RefusedError } from "./http";

let server: http.Server;
async function serve(handler: http.RequestListener) {
  server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

it("repeats a request when the connection it was kept on had been closed", async () => {
  let requests = 0;
  const endpoint = await serve((request, response) => {
    // The second request comes on the connection of the first, which ends under it.
    if (++requests === 2) request.socket.destroy();
    else response.end("ok");
  });
  const client = new HttpClient(endpoint);
  await client.ok("GET", "/");
  expect((await client.ok("PUT", "/", {})).body).toBe("ok");
  expect(requests).toBe(3);
});

it("sends the token, and the ID as one encoded segment", async () => {
  const seen: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    seen.push(request.url, request.headers["x-consul-token"]?.toString());
    response.writeHead(404).end("Unknown service");
  });
  await new Consul(endpoint, "secret").deregister("a/b c?%");
  expect(seen).toEqual(["/v1/agent/service/deregister/a%2Fb%20c%3F%25", "secret"]);
});

it("tells a refusal from an absence", async () => {
  const endpoint = await serve((_, response) => response.writeHead(400).end("no\n"));
  await expect(new HttpClient(endpoint).ok("GET", "/")).rejects.toThrow(new RefusedError(400, "no"));
  const nobody = new HttpClient({ host: "127.0.0.1", port: 1 });
  await expect(nobody.ok("GET", "/")).rejects.not.toBeInstanceOf(RefusedError);
});

it("reads events however they are cut, and says when they end", async () => {
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
