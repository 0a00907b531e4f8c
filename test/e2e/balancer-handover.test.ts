import { once } from "node:events";
import * as http from "node:http";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { scalingKeys } from "../../routing/scaling/keys";
import { encodeSleeping } from "../../routing/scaling/sleeping";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { makeCertificate } from "./certificates";
import { docker } from "./docker";
import { get, secureStatus, startLoad, until } from "./http";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";
import { WebSocketClient, WebSocketService } from "./websocket";

// A load balancer is replaced by another that starts beside it, with the same ports and the same state.

const port = 26_140;
const httpsPort = 26_143;
const files = scratch();
const state = join(files.path, "state");
const certificates = join(files.path, "certificates");

let consul: ConsulAlone;
let first: Balancer;

const start = (name: string, more: Partial<Parameters<typeof Balancer.start>[0]> = {}) =>
  Balancer.start({
    name: `tr-t-${name}`,
    port,
    consul: consul.address,
    args: ["--certs=/certificates", `--https-port=${httpsPort}`, "--stop-grace=1s"],
    docker: ["-v", `${certificates}:/certificates:ro`],
    state,
    ...more,
  });
const serve = async (service: string, listener?: http.RequestListener) => {
  const instance = await Instance.start(service, listener);
  await consul.register(service, instance.port);
};
const answers = (path: string) => until(`${first.url}/${path}`, ({ status }) => status === 200);
const logged = async (container: string, text: string) => {
  while (!(await docker("logs", container)).includes(text)) await sleep(50);
};
const inspect = (balancer: Balancer, field: string) => docker("inspect", "-f", field, balancer.container);

beforeAll(async () => {
  for (const folder of [state, certificates]) mkdirSync(folder);
  const { pem, key } = makeCertificate("handover.test");
  writeFileSync(join(certificates, "handover.pem"), pem + key);
  for (const folder of [files.path, certificates]) chmodSync(folder, 0o755);
  chmodSync(state, 0o777);
  consul = await ConsulAlone.start({ name: "tr-t-handover", port: 26_145 });
  first = await start("first");
});

afterAll(tearDown);

const secure = () => secureStatus(httpsPort, "/plain", "handover.test");

test("another load balancer takes over without a failed request or a broken connection", async () => {
  await serve("plain");
  const chat = await WebSocketService.start("chat");
  await consul.register("chat", chat.port);
  let slow: http.ServerResponse | undefined;
  await serve("download", ({ url }, response) => {
    if (url !== "/long") return void response.end();
    response.write("begin ");
    slow = response;
  });
  for (const path of ["plain", "chat", "download"]) await answers(path);
  const client = await WebSocketClient.open(port, "/chat");
  const [download] = (await once(http.get(`${first.url}/download/long`), "response")) as [
    http.IncomingMessage,
  ];
  let downloaded = "";
  download.setEncoding("utf8").on("data", (text: string) => (downloaded += text));
  const complete = once(download, "end");

  const idle = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () => get(`${first.url}/leaver`, { agent: idle });
  const leaver = await Instance.start("leaver");
  await consul.register("leaver", leaver.port);
  await answers("leaver");
  expect((await ask()).body).toBe("leaver");

  const load = startLoad(`${first.url}/plain`, { perSecond: 200 });
  let secureFailures = 0;
  const stopping = new AbortController();
  const secureLoad = (async () => {
    while (!stopping.signal.aborted) if ((await secure()) !== 200) secureFailures++;
  })();
  const second = await start("second");
  await logged(first.container, "has taken over");
  await serve("newcomer");
  expect((await answers("newcomer")).status).toBe(200);
  stopping.abort();
  await secureLoad;
  const { requests, failures } = await load.stop();
  expect(requests).toBeGreaterThan(100);
  expect({ failures, secureFailures }).toEqual({ failures: {}, secureFailures: 0 });
  expect(await second.logs()).toContain("taken over from the load balancer before this one");

  // A connection that was idle brings the old one a request, after another service has got the address.
  await consul.deregister("leaver", leaver.port);
  leaver.stop();
  const other = http.createServer((_, response) => response.end("other")).listen(leaver.port, "127.0.0.1");
  afterwards(() => other.close());
  await consul.register("other", leaver.port);
  await answers("other");
  // No change waits until the old one knows of it, and the connection is good for one request.
  await sleep(1_000);
  expect((await ask()).status).toBe(503);
  idle.destroy();

  expect(await client.echo("still there")).toBe("chat: still there");
  expect(await inspect(first, "{{.State.Running}}")).toBe("true");
  client.close();
  chat.stop();
  slow?.end("end");
  await complete;
  expect(downloaded).toBe("begin end");
  await docker("wait", first.container);
  expect(await inspect(first, "{{.State.ExitCode}}")).toBe("0");
  expect((await answers("plain")).status).toBe(200);
  // Requests before and after are in one count.
  expect(await second.counter(`frontend_http_requests_total{proxy="http"}`)).toBeGreaterThan(requests);

  // The one that took over can be replaced as well.
  await start("third");
  await logged(second.container, "has taken over");
  await docker("wait", second.container);
  expect((await answers("newcomer")).status).toBe(200);
}, 120_000);

test("a load balancer whose successor fails goes on", async () => {
  const serving = "tr-t-third-balancer";
  const load = startLoad(`${first.url}/plain`, { perSecond: 100, connections: 4 });
  const bad = join(files.path, "bad.js");
  writeFileSync(
    bad,
    'if (!require("node:worker_threads").isMainThread) throw new Error("a fault of the test");',
  );
  const failing = start("failing", {
    env: { NODE_OPTIONS: "--require=/bad.js" },
    docker: ["-v", `${certificates}:/certificates:ro`, "-v", `${bad}:/bad.js:ro`],
  });
  await logged(serving, "is gone. Going on.");
  await failing;
  await serve("later");
  expect((await answers("later")).status).toBe(200);
  expect((await load.stop()).failures).toEqual({});
  expect((await get(`${first.admin}/ready`)).status).toBe(200);
}, 60_000);

test("requests that wait for a service to wake are answered by the one that they reached", async () => {
  const args = ["--node=handover", "--stop-grace=1s"];
  await start("fourth", { args });
  await logged("tr-t-third-balancer", "has taken over");
  await consul.put(`kv/${scalingKeys.sleeping}sleeper`, encodeSleeping({ tags: ["rest"], meta: {} }));
  await until(`${first.admin}/routes`, ({ body }) => body.includes('"url": "/sleeper"'));
  const held = Array.from({ length: 50 }, () =>
    get(`${first.url}/sleeper`, { agent: false, timeout: 40_000 }),
  );
  const wanted = `http://${consul.address}/v1/kv/${scalingKeys.wanted}sleeper`;
  expect((await until(wanted, ({ status }) => status === 200)).status).toBe(200);
  await start("fifth", { args });
  await logged("tr-t-fourth-balancer", "has taken over");
  await serve("sleeper");
  const answered = await Promise.all(held);
  expect(new Set(answered.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set(["200 sleeper"]));
}, 60_000);
