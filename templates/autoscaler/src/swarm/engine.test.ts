import { expect, test } from "vitest";
import { serve } from "../../../../lib/testing";
import { HttpClient } from "../../../../lib/http";
import { Engine } from "./engine";
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

test("asks for tasks only where they matter, and for nodes only if tasks wait for room", async () => {
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
});

test("sends Docker its own specification with another number of replicas", async () => {
  const { engine: one, asked, bodies } = await engine();
  expect(await one.rescale(serviceId, { version: 12, replicas: 4 })).toEqual({ status: 200, body: {} });
  expect(asked.at(-1)).toBe(`POST /services/${serviceId}/update?version=12`);
  expect(bodies).toEqual([dockerService({ replicas: 4 })["Spec"]]);
});

test("refuses without asking Docker for a change, and passes Docker's own refusal on", async () => {
  const { engine: one, bodies } = await engine();
  expect((await one.rescale(serviceId, { version: 12, replicas: 40 })).status).toBe(403);
  expect(bodies).toEqual([]);
  const { engine: late } = await engine(dockerService(), 500);
  expect((await late.rescale(serviceId, { version: 12, replicas: 4 })).status).toBe(409);
});
