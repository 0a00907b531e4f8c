import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HttpClient } from "../../../../lib/http";
import { listenAt } from "../../../../lib/listen";
import { narrowServer, type Answering } from "./server";
import { serviceId } from "./testing";

const folder = mkdtempSync(join(tmpdir(), "narrow-"));
const socketPath = join(folder, "docker.sock");
const changes: unknown[] = [];
const lines: string[] = [];
const engine: Answering = {
  swarm: () => Promise.resolve({ services: [], jobs: [], nodesWanted: 0, cores: 4 }),
  rescale: (id, change) => {
    changes.push([id, change]);
    return Promise.resolve({ status: 200, body: {} });
  },
  relimit: (id, change) => {
    changes.push(["service", id, change]);
    return Promise.resolve({ status: 200, body: {} });
  },
  startRun: (id, change) => {
    changes.push(["run", id, change]);
    return Promise.resolve({ status: 200, body: {} });
  },
  endRun: (id, change) => {
    changes.push(["end", id, change]);
    return Promise.resolve({ status: 200, body: {} });
  },
  limitTask: (task, limits) => {
    changes.push(["task", task, limits]);
    return Promise.resolve({ status: 200, body: {} });
  },
};
const http = new HttpClient({ socketPath });
let server: Awaited<ReturnType<typeof listenAt>>;

beforeAll(async () => {
  writeFileSync(socketPath, "left by an earlier run");
  server = await listenAt(
    narrowServer(engine, (line) => lines.push(line)),
    socketPath,
  );
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  http.close();
  rmSync(folder, { recursive: true });
});

test("anybody who sees the socket may use it", () => {
  expect(existsSync(socketPath) && statSync(socketPath).mode & 0o777).toBe(0o666);
});

test("tells of services, changes the replicas and limits of one, starts and ends a job, and changes limits of a task", async () => {
  expect((await http.ok("GET", "/services")).body).toBe(
    '{"services":[],"jobs":[],"nodesWanted":0,"cores":4}',
  );
  await http.ok("POST", `/services/${serviceId}/replicas`, { body: { version: 1, replicas: 2 } });
  await http.ok("POST", `/services/${serviceId}/limits`, { body: { version: 1, memoryBytes: 2 } });
  const due = "2026-11-29T03:00:00.000Z";
  await http.ok("POST", `/services/${serviceId}/run`, { body: { version: 1, due } });
  await http.ok("POST", `/services/${serviceId}/end`, { body: { version: 2 } });
  await http.ok("POST", `/tasks/${serviceId}/limits`, { body: { memoryBytes: 2, cores: 0.5 } });
  expect(changes).toEqual([
    [serviceId, { version: 1, replicas: 2 }],
    ["service", serviceId, { version: 1, memoryBytes: 2 }],
    ["run", serviceId, { version: 1, due }],
    ["end", serviceId, { version: 2 }],
    ["task", serviceId, { memoryBytes: 2, cores: 0.5 }],
  ]);
});

/** Docker's own paths, and others that a mistake in the match could let through. */
const calls = `
  GET / /_ping /version /info /containers/json /services?status=true /services/ID /services/ID/logs /v1.41/services
  GET /services/ /services/../info //services /nodes /tasks /swarm /secrets /configs /events /images/json /services/ID/replicas
  HEAD /services
  POST /services /services/create /services/ID /services/ID/update /services/ID/replicas?version=1 /services/ID/replicas/
  GET /services/ID/limits /tasks/ID/limits /containers/ID/json /containers/ID/stats
  POST /tasks/ID/replicas /tasks/ID/limits?x /tasks/ID/limits/ /tasks/x/limits /tasks/ID /containers/ID/update /containers/ID/limits
  POST /v1.41/tasks/ID/limits /nodes/ID/limits /tasks/../containers/ID/limits
  PUT /tasks/ID/limits /services/ID/limits /services/ID/run
  GET /services/ID/run /services/ID/end
  POST /tasks/ID/run /tasks/ID/end /services/x/run /services/ID/run/ /services/ID/end?force=1 /v1.41/services/ID/run
  POST /services/../swarm/leave/replicas /services/x/replicas /v1.41/services/ID/replicas /containers/create /swarm/leave
  PUT /services/ID/replicas /services
  PATCH /services/ID/replicas
  DELETE /services/ID /services
  OPTIONS /services`
  .trim()
  .split("\n")
  .flatMap((line) => {
    const [method = "", ...paths] = line.trim().split(" ");
    return paths.map((path) => [method, path.replace("ID", serviceId)] as const);
  });

test(`${calls.length} other calls are refused`, async () => {
  const before = changes.length;
  for (const [method, path] of calls) {
    const body = method === "POST" ? { body: { version: 1, replicas: 2 } } : {};
    expect([method, path, (await http.request(method, path, body)).status]).toEqual([method, path, 403]);
  }
  expect(changes).toHaveLength(before);
  expect(lines.at(-1)).toBe(
    'OPTIONS "/services": 403 {"error":"only GET /services and POST /services/ID/replicas, /services/ID/limits, /services/ID/run, /services/ID/end and /tasks/ID/limits are allowed here"}',
  );
});

test.each(["", "{}", `{"version":1,"replicas":2,"x":"${"y".repeat(5_000)}"}`])(
  "a body of %.20j is refused",
  async (text) => {
    for (const path of [
      "services/ID/replicas",
      "services/ID/limits",
      "services/ID/run",
      "services/ID/end",
      "tasks/ID/limits",
    ]) {
      const { status } = await http.request("POST", `/${path.replace("ID", serviceId)}`, { text });
      expect(status).toBe(400);
    }
  },
);

test("what is no HTTP is answered by an error, and the next client is served", async () => {
  const answer = await new Promise<string>((resolve) => {
    let text = "";
    const socket = createConnection(socketPath, () => socket.write("get /services\r\n\r\n"));
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.on("close", () => {
      resolve(text);
    });
  });
  expect(answer).toContain("400 Bad Request");
  expect((await http.ok("GET", "/services")).status).toBe(200);
});
