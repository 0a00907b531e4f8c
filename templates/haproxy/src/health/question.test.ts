import { createServer as createHttpServer } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { parseOptions } from "../../../../routing/service-options";
import type { Authority } from "../config/authorities";
import { selfSigned } from "../testing";
import { ask, findTls, type Asked } from "./question";

const certificate = selfSigned("shop.internal");
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listen(server: Server): Promise<number> {
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

const asked = (port: number, meta: Readonly<Record<string, string>> = {}): Asked => {
  const parsed = parseOptions(["rest"], meta);
  if (!parsed?.ok) throw new Error("these options cannot be used");
  return { address: "127.0.0.1", port, options: parsed.value.service };
};

const authorities = (): ReadonlyMap<string, Authority> =>
  new Map([
    ["own.pem", { pem: certificate.cert, fingerprint: "1" }],
    [".public.pem", { pem: "", fingerprint: "2" }],
  ]);
const https = () => listen(createHttpsServer(certificate, (_, response) => response.end()));
const trusted = { proto: "https", tls_ca: "own.pem", tls_server_name: "shop.internal" };

test("accepts an instance whose certificate is signed by the authority and has the name", async () => {
  expect(await ask(asked(await https(), trusted), authorities())).toEqual({ healthy: true });
});

test("asks in HTTP/2 where the instance speaks nothing else", async () => {
  const requests: string[] = [];
  const server = createSecureServer(certificate, (request, response) => {
    requests.push(`${request.method} ${request.url} ${request.authority}`);
    response.writeHead(request.url === "/good" ? 200 : 503).end();
  });
  const port = await listen(server);
  const h2 = (path: string) => asked(port, { ...trusted, host: "a.org", health_path: path });
  expect(await ask(h2("/good"), authorities())).toEqual({ healthy: true });
  expect(await ask(h2("/bad"), authorities())).toEqual({ healthy: false });
  expect(requests).toEqual(["GET /good a.org", "GET /bad a.org"]);
});

test.each<[string, Record<string, string>, string | undefined]>([
  ["another name", { tls_server_name: "other.internal" }, "is not for other.internal"],
  ["no known authority", { tls_ca: "missing.pem" }, undefined],
  ["the public authorities", { tls_ca: "" }, "no trusted authority has signed"],
])("does not accept %s", async (_, given, finding) => {
  const { tls_ca: ca, ...more } = { ...trusted, ...given };
  const answer = await ask(asked(await https(), ca === "" ? more : { ...more, tls_ca: ca }), authorities());
  expect(answer.healthy).toBe(false);
  if (finding === undefined) expect(answer.finding).toBeUndefined();
  else expect(answer.finding).toContain(finding);
});

test("accepts any certificate without verification", async () => {
  expect(await ask(asked(await https(), { proto: "https", tls_verify: "false" }), authorities())).toEqual({
    healthy: true,
  });
});

test("says that an instance does not speak TLS", async () => {
  const port = await listen(createHttpServer((_, response) => response.end()));
  const answer = await ask(asked(port, { proto: "https", tls_verify: "false" }), authorities());
  expect(answer).toEqual({
    healthy: false,
    finding: "does not answer in TLS: remove SERVICE_PROTO=https if it speaks plain HTTP",
  });
});

const speaksTls = "speaks TLS, not plain HTTP: set SERVICE_PROTO=https";

test("finds TLS behind a connection that is closed", async () => {
  const there = asked(await https());
  expect(await ask(there, authorities())).toEqual({ healthy: false, mayBeTls: true });
  expect(await findTls(there)).toBe(speaksTls);
});

test("finds TLS in an alert", async () => {
  const alert = createServer((socket) => socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 40])));
  expect(await ask(asked(await listen(alert)), authorities())).toEqual({
    healthy: false,
    finding: speaksTls,
  });
});

/** As nginx and Go do: 400 in plain HTTP on a port for TLS. */
test("finds TLS behind a 400, and believes one that is meant", async () => {
  const secure = await https();
  const both = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (first) => {
      if (first[0] !== 0x16) socket.end("HTTP/1.0 400 Bad Request\r\n\r\n");
      else {
        const inner = connect(secure, "127.0.0.1").on("error", () => undefined);
        inner.write(first);
        socket.pipe(inner).pipe(socket);
      }
    });
  });
  expect(await ask(asked(await listen(both)), authorities())).toEqual({ healthy: false, finding: speaksTls });
  const picky = createHttpServer((_, response) => response.writeHead(400).end());
  const port = await listen(picky);
  expect(await ask(asked(port), authorities())).toEqual({ healthy: true });
  // Asked for its health path, it is unhealthy, and nothing else is done to it at once.
  expect(await ask(asked(port, { health_path: "/" }), authorities())).toEqual({
    healthy: false,
    mayBeTls: true,
  });
});

test("finds nothing where nothing speaks TLS", async () => {
  const closing = createServer((socket) => socket.end());
  expect(await findTls(asked(await listen(closing)))).toBeUndefined();
});
