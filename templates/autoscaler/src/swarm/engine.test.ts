import { describe, expect, test } from "vitest";
import { serve } from "../../../../lib/testing";
import { HttpClient } from "../../../../lib/http";
import { Engine } from "./engine";
import { leastCores } from "./services";
import { dockerService, serviceId } from "./testing";

/** An engine with one service, and what it was asked for. */
async function engine(service = dockerService(), updateStatus = 200) {
  const asked: string[] = [];
  const bodies: unknown[] = [];
  const endpoint = await serve((request, response) => {
    const url = decodeURIComponent(request.url ?? "");
    asked.push(`${request.method ?? ""} ${url}`);
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      if (request.method === "POST") {
        bodies.push(JSON.parse(body));
        response.writeHead(updateStatus).end('{"message":"rpc error: update out of sequence"}');
      } else if (url.startsWith("/services?")) response.end(JSON.stringify([service]));
      else if (url.startsWith("/services/")) response.end(JSON.stringify(service));
      else if (url.startsWith("/tasks")) response.end(JSON.stringify([waiting]));
      else response.end("[]");
    });
  });
  return { engine: new Engine(new HttpClient(endpoint)), asked, bodies };
}

const waiting = {
  ID: "t",
  ServiceID: serviceId,
  DesiredState: "running",
  Status: { State: "pending", Err: "no suitable node (insufficient resources on 1 node)" },
};

test("asks for tasks only where they matter, and for nodes only if tasks wait for room or cores are to be chosen", async () => {
  const full = await engine();
  expect((await full.engine.swarm()).services).toHaveLength(1);
  expect(full.asked).toEqual(["GET /services?status=true"]);
  const short = await engine(dockerService({ ServiceStatus: { RunningTasks: 1 } }));
  const { services, nodesWanted } = await short.engine.swarm();
  expect([services[0]?.tasks[0]?.id, nodesWanted]).toEqual(["t", 1]);
  expect(short.asked.slice(1)).toEqual([
    `GET /tasks?filters={"desired-state":["running"],"service":["${serviceId}"]}`,
    "GET /nodes",
  ]);
  const automatic = await engine(dockerService({ labels: { "switchyard.cpus": "auto" } }));
  await automatic.engine.swarm();
  expect(automatic.asked.at(-1)).toBe("GET /nodes");
});

test("cores are those of the smallest node", () => {
  const node = (cores: number) => ({ Description: { Resources: { NanoCPUs: cores * 1e9 } } });
  expect(leastCores([node(8), node(2), node(0), {}])).toBe(2);
  expect(leastCores({})).toBe(1024);
});

test("sends Docker its own specification with another number of replicas", async () => {
  const { engine: one, asked, bodies } = await engine();
  expect(await one.rescale(serviceId, { version: 12, replicas: 4 })).toEqual({ status: 200, body: {} });
  expect(asked.at(-1)).toBe(`POST /services/${serviceId}/update?version=12`);
  expect(bodies).toEqual([dockerService({ replicas: 4 })["Spec"]]);
});

test("writes down the limits that are chosen for a service", async () => {
  const labels = { "switchyard.cpus": "auto" };
  const { engine: one, asked, bodies } = await engine(dockerService({ labels }));
  expect((await one.relimit(serviceId, { version: 12, cores: 0.5 })).status).toBe(200);
  expect(asked.at(-1)).toBe(`POST /services/${serviceId}/update?version=12`);
  expect(bodies).toEqual([dockerService({ labels: { ...labels, "switchyard.limits.cpus": "0.5" } })["Spec"]]);
});

describe("the limits of a task", () => {
  const id = "0".repeat(64);
  /** An engine on which a task runs in so many containers. */
  async function node(containers = 1) {
    const asked: string[] = [];
    const endpoint = await serve((request, response) => {
      const url = decodeURIComponent(request.url ?? "");
      asked.push(`${request.method ?? ""} ${url}`);
      const labels = { "switchyard.memory.max": "1g" };
      if (request.method === "POST") request.on("data", (chunk: Buffer) => asked.push(chunk.toString()));
      const answer = url.startsWith("/containers/json")
        ? Array.from({ length: containers }, () => ({ Id: id }))
        : url.includes("/stats")
          ? { memory_stats: { usage: 20 * 2 ** 20 } }
          : { Config: { Labels: labels }, HostConfig: { Memory: 0 } };
      request.on("end", () => response.end(JSON.stringify(answer))).resume();
    });
    return { engine: new Engine(new HttpClient(endpoint)), asked };
  }

  test("are those of its container", async () => {
    const { engine: one, asked } = await node();
    expect((await one.limitTask(serviceId, { memoryBytes: 2 ** 26 })).status).toBe(200);
    expect(asked).toEqual([
      `GET /containers/json?filters={"label":["com.docker.swarm.task.id=${serviceId}"]}`,
      `GET /containers/${id}/stats?stream=false&one-shot=true`,
      `GET /containers/${id}/json`,
      `POST /containers/${id}/update`,
      `{"Memory":${2 ** 26},"MemorySwap":${2 ** 27}}`,
    ]);
  });

  test("stay as they are below what it uses, or if it does not run here", async () => {
    const { engine: one, asked } = await node();
    expect((await one.limitTask(serviceId, { memoryBytes: 2 ** 24 })).status).toBe(409);
    expect(asked.join()).not.toContain("POST");
    for (const count of [0, 2])
      expect((await (await node(count)).engine.limitTask(serviceId, { memoryBytes: 2 ** 26 })).status).toBe(404);
  });
}); // prettier-ignore

test("refuses without asking Docker for a change, and passes Docker's own refusal on", async () => {
  const { engine: one, bodies } = await engine();
  expect((await one.rescale(serviceId, { version: 12, replicas: 40 })).status).toBe(403);
  expect(bodies).toEqual([]);
  const { engine: late } = await engine(dockerService(), 500);
  expect((await late.rescale(serviceId, { version: 12, replicas: 4 })).status).toBe(409);
});
