import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { Consul } from "../../templates/haproxy/src/consul/client";
import { Watcher } from "../../templates/haproxy/src/consul/watcher";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { until } from "./http";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

const prefix = "cs-t";
const nodes = ["n0", "n1", "n2", "n3", "n4"];

afterAll(tearDown);

/** A proxy for Consul that records each request and the size of its answer. */
class Proxy {
  readonly asked: { readonly url: string; readonly token: string | undefined; bytes: number }[] = [];
  sockets = 0;

  private constructor(readonly server: http.Server) {}

  static async start(consul: string, tls?: https.ServerOptions): Promise<Proxy> {
    const listener: http.RequestListener = (request, response) => {
      const entry = {
        url: request.url ?? "",
        token: request.headers["x-consul-token"]?.toString(),
        bytes: 0,
      };
      proxy.asked.push(entry);
      const { url, method, headers } = request;
      const forward = http.request(`http://${consul}${url ?? ""}`, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on("data", (chunk: Buffer) => (entry.bytes += chunk.length));
        answer.pipe(response);
      });
      forward.on("error", () => response.destroy());
      response.on("close", () => forward.destroy());
      request.pipe(forward);
    };
    const proxy = new Proxy(
      tls === undefined ? http.createServer(listener) : https.createServer(tls, listener),
    );
    proxy.server.on("connection", () => proxy.sockets++);
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    afterwards(() => {
      proxy.stop();
    });
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

/** Registers `count` services on five nodes, in transactions of a size that Consul accepts. */
async function fill(consul: ConsulAlone, count: number): Promise<void> {
  await consul.put(
    "txn",
    nodes.map((Node, index) => ({
      Node: { Verb: "set", Node: { Node, Address: `10.0.0.${index + 1}` } },
    })),
  );
  const operations = Array.from({ length: count }, (_, index) => ({
    Service: {
      Verb: "set",
      Node: nodes[index % nodes.length],
      Service: {
        ID: `s${index}`,
        Service: `s${index}/v1`,
        Address: `10.1.${index >> 8}.${index & 255}`,
        Port: 80,
        Tags: ["rest"],
      },
    },
  }));
  for (let from = 0; from < operations.length; from += 60)
    await consul.put("txn", operations.slice(from, from + 60));
}

describe("watching 5,000 services", () => {
  let consul: ConsulAlone;
  let proxy: Proxy;
  let watch: Watcher;
  let changes = 0;
  const reasons: string[] = [];

  beforeAll(async () => {
    consul = await ConsulAlone.start({ name: `${prefix}-scale`, port: 27_020 });
    await fill(consul, 5_000);
    proxy = await Proxy.start(consul.address);
    const addresses = [{ host: "127.0.0.1", port: proxy.port, tls: false }];
    watch = new Watcher(new Consul({ addresses, tls: { verify: true } }), {
      changed: () => changes++,
      suspect: (why) => reasons.push(why),
    });
    watch.start();
    afterwards(() => {
      watch.stop();
    });
    await vi.waitFor(
      () => {
        expect(watch.catalog()?.instances.length).toBeGreaterThan(4_999);
      },
      { timeout: 30_000 },
    );
    await sleep(1_500);
  });

  const since = async (action: () => Promise<void>) => {
    const before = proxy.asked.length;
    await action();
    return proxy.asked.slice(before).map(({ url }) => url.replace(/^\/v1\/|[?&].*$/g, ""));
  };

  test("uses one blocking query per node plus four, far below Consul's limit of 200 connections", () => {
    // Consul itself is a sixth node. First queries use up to 20 separate connections.
    expect(proxy.sockets).toBeLessThanOrEqual(nodes.length + 1 + 20);
  });

  test("an unchanged catalog causes no traffic", async () => {
    const before = changes;
    expect(await since(() => sleep(5_000))).toEqual([]);
    expect(changes).toBe(before);
  });

  test("one change costs one answer with the services of one node", async () => {
    const before = watch.catalog()?.instances ?? [];
    const asked = await since(async () => {
      await consul.put("catalog/register", {
        Node: "n3",
        Address: "10.0.0.4",
        SkipNodeUpdate: true,
        Service: { ID: "new", Service: "new", Address: "10.2.0.1", Port: 80, Tags: ["rest"] },
      });
      await expect.poll(() => watch.catalog()?.instances.length).toBe(before.length + 1);
      await sleep(500);
    });
    expect(asked).toEqual(["catalog/node-services/n3"]);
    const kept = new Set(before);
    expect(watch.catalog()?.instances.filter((instance) => !kept.has(instance))).toMatchObject([
      { id: "new" },
    ]);
  });

  test("a changed check costs a few bytes and no answer about services", async () => {
    const check = (Status: string) =>
      consul.put("catalog/register", {
        Node: "n1",
        Address: "10.0.0.2",
        SkipNodeUpdate: true,
        Check: { Node: "n1", CheckID: "c", Name: "c", Status, ServiceID: "s1" },
      });
    const unhealthy = () => watch.catalog()?.instances.filter(({ healthy }) => !healthy).length;
    const from = proxy.asked.length;
    await check("critical");
    await expect.poll(unhealthy).toBe(1);
    await check("passing");
    await expect.poll(unhealthy).toBe(0);
    await sleep(500);
    const asked = proxy.asked.slice(from);
    const isAboutRights = (url: string) => /\/catalog\/service\/consul\b/.test(url);
    expect(asked.filter(({ url }) => !url.includes("health/state/") && !isAboutRights(url))).toEqual([]);
    // Without rights, no check would be critical either: the load balancer asks whether that is why.
    expect(asked.filter(({ url }) => isAboutRights(url))).toHaveLength(1);
    expect(asked.length).toBeLessThanOrEqual(7);
    expect(asked.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(5_000);
    expect(reasons).toEqual([]);
  });
});

describe("Consul with ACLs and mutual TLS", () => {
  const folder = scratch();
  const file = (name: string) => join(folder.path, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder.path, stdio: "pipe" });
  let consul: ConsulAlone;
  let proxy: Proxy;
  let token = "";

  const asRoot = async (method: string, path: string, body: unknown): Promise<Record<string, string>> => {
    const response = await fetch(`http://${consul.address}/v1/${path}`, {
      method,
      headers: { "X-Consul-Token": "root" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as Record<string, string>;
  };

  beforeAll(async () => {
    const subject = (name: string) => ["-subj", `/CN=${name}`, "-days", "2", "-nodes", "-newkey", "rsa:2048"];
    openssl("req", "-x509", ...subject("authority"), "-keyout", "ca.key", "-out", "ca.pem");
    for (const name of ["consul.example", "client"]) {
      openssl(
        "req",
        ...subject(name).filter((each) => !/^(-days|2)$/.test(each)),
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.csr`,
      );
      openssl(
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-out",
        `${name}.pem`,
      );
    }
    const acl = 'acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }';
    consul = await ConsulAlone.start({ name: `${prefix}-acl`, port: 27_030, args: ["-hcl", acl] });
    const rules =
      'node_prefix "" { policy = "read" } service_prefix "" { policy = "read" } key_prefix "service/haproxy/" { policy = "read" }';
    await vi.waitFor(() => asRoot("PUT", "acl/policy", { Name: "balancer", Rules: rules }), {
      timeout: 20_000,
      interval: 200,
    });
    token = (await asRoot("PUT", "acl/token", { Policies: [{ Name: "balancer" }] }))["SecretID"] ?? "";
    await fetch(`http://${consul.address}/v1/catalog/register`, {
      method: "PUT",
      headers: { "X-Consul-Token": "root" },
      body: JSON.stringify({
        Node: "n",
        Address: "10.0.0.1",
        Service: { Service: "secret", Port: 80, Tags: ["rest"] },
      }),
    });
    const read = (name: string) => readFileSync(file(name));
    proxy = await Proxy.start(consul.address, {
      cert: read("consul.example.pem"),
      key: read("consul.example.key"),
      ca: read("ca.pem"),
      requestCert: true,
      rejectUnauthorized: true,
    });
  });

  /** The service that a watch with these options finds, or the reason why it finds none. */
  async function watched(options: Partial<ConstructorParameters<typeof Consul>[0]>): Promise<string> {
    const reasons: string[] = [];
    const addresses = [{ host: "127.0.0.1", port: proxy.port, tls: true }];
    const watch = new Watcher(new Consul({ addresses, tls: { verify: true }, ...options }), {
      changed: () => undefined,
      suspect: (why) => reasons.push(why),
    });
    watch.start();
    const found = () => watch.catalog()?.instances.find(({ service }) => service === "secret")?.service;
    try {
      await expect.poll(() => found() ?? reasons[0], { timeout: 10_000 }).toBeDefined();
      return found() ?? reasons[0] ?? "";
    } finally {
      watch.stop();
    }
  }
  const tls = () => ({
    ca: file("ca.pem"),
    cert: file("client.pem"),
    key: file("client.key"),
    serverName: "consul.example",
    verify: true,
  });

  test("accepts a token, CA, client certificate and server name", async () => {
    expect(await watched({ token, tls: tls() })).toBe("secret");
    expect(proxy.asked.every((each) => each.token === token)).toBe(true);
  });

  test("names the missing setting when a credential is absent", async () => {
    expect(await watched({ tls: tls() })).toContain("CONSUL_HTTP_TOKEN");
    expect(await watched({ token, tls: { verify: true } })).toContain("CONSUL_CACERT");
    expect(await watched({ token, tls: { ca: file("ca.pem"), verify: true } })).toContain("cannot be asked");
  });

  test("picks up a renewed token from its file after the old one was deleted", async () => {
    const Policies = [{ Name: "balancer" }];
    const [old, renewed] = [
      await asRoot("PUT", "acl/token", { Policies }),
      await asRoot("PUT", "acl/token", { Policies }),
    ];
    const tokens = scratch();
    chmodSync(tokens.path, 0o755);
    const write = ({ SecretID = "" }) => {
      writeFileSync(join(tokens.path, "token"), `${SecretID}\n`, { mode: 0o644 });
    };
    write(old);
    const instance = await Instance.start("new");
    const balancer = await Balancer.start({
      name: `${prefix}-token`,
      port: 27_035,
      consul: consul.address,
      env: { CONSUL_HTTP_TOKEN_FILE: "/tokens/token" },
      docker: ["-v", `${tokens.path}:/tokens:ro`],
    });
    try {
      write(renewed);
      await asRoot("DELETE", `acl/token/${old["AccessorID"] ?? ""}`, "");
      await asRoot("PUT", "catalog/register", {
        Node: "n",
        Address: "127.0.0.1",
        Service: { Service: "new", Port: instance.port, Tags: ["rest"] },
      });
      expect((await until(`${balancer.url}/new`, ({ status }) => status === 200)).body).toBe("new");
    } finally {
      await balancer.stop();
      instance.stop();
      tokens.remove();
    }
  });
});
