import { chmodSync } from "node:fs";
import * as http from "node:http";
import { createConnection } from "node:net";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { docker, removeContainers } from "./docker";
import { get } from "./http";
import { buildImage } from "./images";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

// What Registrator and the autoscaler may ask a real engine, and that nothing else gets through to it.

const name = "dp-t-docker-socket-proxy";
const files = scratch();
const socketPath = join(files.path, "docker.sock");

const ask = (path: string, options: http.RequestOptions = {}) =>
  get(`http://docker${path}`, { socketPath, agent: false, ...options });

/** Sends bytes as they are; returns the status of each answer. */
const send = (request: string): Promise<string[]> =>
  new Promise((resolve, reject) => {
    let answer = "";
    const socket = createConnection(socketPath, () => socket.write(request));
    // Ended at once, it would tell HAProxy that nobody waits for a second answer.
    socket.setTimeout(500, () => socket.end());
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    socket.on("error", reject);
    socket.on("close", () => {
      resolve([...answer.matchAll(/^HTTP\/1\.[01] (\d+)/gm)].map(([, status = ""]) => status));
    });
  });

beforeAll(async () => {
  // A shared folder, as the volume is.
  chmodSync(files.path, 0o777);
  const image = await buildImage("haproxy", "switchyard/haproxy:e2e");
  const guards = ["--network=none", "--user=0", "--read-only", "--security-opt=no-new-privileges:true"];
  const capabilities = ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE", "--no-healthcheck"];
  const socket = ["-v", "/var/run/docker.sock:/var/run/docker.sock"];
  const folder = ["-v", `${files.path}:/run/docker-socket-proxy`, "--entrypoint=haproxy"];
  afterwards(() => removeContainers(name));
  await docker("run", "-d", "--name", name, ...guards, ...capabilities, ...socket, ...folder, image, "-f", "/app/docker-socket-proxy.cfg"); // prettier-ignore
  await vi.waitFor(async () => {
    expect((await ask("/version")).status).toBe(200);
  }, 20_000);
});
afterAll(tearDown);

test.each([
  "/version",
  "/v1.41/version",
  "/containers/json",
  "/v1.41/containers/json?all=1",
  `/v1.41/containers/${name}/json`,
  `/v1.41/containers/${name}/stats?stream=false`,
  "/v1.41/events?since=1&until=2",
])("GET %s is answered by the engine", async (path) => {
  expect((await ask(path)).status).toBe(200);
});

test("the stream of events arrives as it happens, and ends with its reader", async () => {
  const { Actor } = await new Promise<{ Actor: { Attributes: Record<string, string> } }>(
    (resolve, reject) => {
      const filters = encodeURIComponent(JSON.stringify({ event: ["rename"] }));
      const request = http.get({ socketPath, path: `/events?filters=${filters}`, agent: false });
      request.on("response", (response) => {
        response.once("data", (chunk: Buffer) => {
          request.destroy();
          resolve(JSON.parse(chunk.toString()) as never);
        });
        docker("rename", name, `${name}-2`).catch(reject);
      });
      request.on("error", reject);
    },
  ).finally(() => docker("rename", `${name}-2`, name));
  expect(Actor.Attributes["name"]).toBe(`${name}-2`);
});

/** The engine's API, as in its reference for 1.41, without what is allowed. */
const calls = `
  GET /_ping /info /auth /system/df /session /grpc
  GET /containers/X/top /containers/X/logs /containers/X/changes /containers/X/export /containers/X/attach/ws
  GET /containers/X/archive?path=/etc/passwd /containers/X/exec /exec/X/json
  GET /images/json /images/X/json /images/X/history /images/search /images/X/get /images/get /distribution/X/json
  GET /networks /networks/X /volumes /volumes/X /swarm /swarm/unlockkey /nodes /nodes/X /services /services/X /services/X/logs
  GET /tasks /tasks/X /tasks/X/logs /secrets /secrets/X /configs /configs/X /plugins /plugins/X/json /plugins/privileges
  HEAD /_ping /version /events /containers/json /containers/X/archive
  PUT /containers/X/archive
  POST /containers/create /containers/json /containers/X/json /containers/X/stats /containers/X/start /containers/X/stop /containers/X/restart
  POST /containers/X/kill /containers/X/update /containers/X/rename /containers/X/pause /containers/X/unpause /containers/X/resize
  POST /containers/X/attach /containers/X/wait /containers/X/exec /exec/X/start /containers/prune /commit /session /grpc /version
  POST /build /build/prune /images/create /images/X/push /images/X/tag /images/prune /images/load /auth /events
  POST /networks/create /networks/X/connect /networks/X/disconnect /networks/prune /volumes/create /volumes/prune
  POST /swarm/init /swarm/join /swarm/leave /swarm/update /swarm/unlock /nodes/X/update /services/create /services/X/update
  POST /secrets/create /secrets/X/update /configs/create /configs/X/update /plugins/pull /plugins/X/enable /plugins/create
  DELETE /containers/X /images/X /networks/X /volumes/X /nodes/X /services/X /secrets/X /configs/X /plugins/X /containers/json
  PATCH /containers/X/json
  OPTIONS /containers/json
  TRACE /version`
  .trim()
  .split("\n")
  .flatMap((line) => {
    const [method = "", ...paths] = line.trim().split(" ");
    return paths.flatMap((path) => ["", "/v1.41"].map((version) => [method, version + path] as const));
  });

test(`${calls.length} other calls are refused`, async () => {
  const statuses: string[] = [];
  for (const [method, path] of calls)
    statuses.push(`${method} ${path}: ${(await ask(path, { method })).status}`);
  expect(statuses).toEqual(calls.map(([method, path]) => `${method} ${path}: 403`));
});

test.each<[string, string]>([
  ["a path with dot segments", "GET /containers/json/../../info HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a name with dot segments", "GET /containers/../json HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["an encoded slash", "GET /containers/x%2Flogs%3F/json HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a double slash", "GET //containers/json HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["another prefix", "GET /v1.41/../info?/containers/json HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["a URL instead of a path", "GET http://x/info?/containers/json HTTP/1.1\r\nHost: x\r\n\r\n"],
  ["an upgrade", "GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"],
  ["a body", "GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"],
  ["a body in chunks", "GET /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
])("%s is refused", async (_, request) => {
  expect(await send(request)).toEqual(["403"]);
});

test("two lengths, a second request in a body, and what is no HTTP do not reach the engine", async () => {
  const kill = `POST /containers/${name}/kill HTTP/1.1\r\nHost: x\r\n\r\n`;
  const get = "GET /version HTTP/1.1\r\nHost: x\r\n";
  expect(await send(`${get}Content-Length: 0\r\nContent-Length: 60\r\n\r\n${kill}`)).toEqual(["400"]);
  expect(await send(`${get}\r\n${kill}`)).toEqual(["200", "403"]);
  expect(await send(`${get}Content-Length: ${kill.length}\r\n\r\n${kill}`)).toEqual(["403"]);
  expect(await send("get /info HTTP/1.1\r\nHost: x\r\n\r\n")).toEqual(["403"]);
  expect(await send(`${get} Content-Length: 5\r\n\r\n${kill}`)).not.toContain("204");
  expect(await docker("inspect", "-f", "{{.State.Running}}", name)).toBe("true");
});

test("the log names what was refused, and nothing else", async () => {
  const log = await docker("logs", name);
  expect(log).toContain('POST "/v1.41/containers/create": 403');
  expect(log).not.toMatch(/: 200$/m);
});
