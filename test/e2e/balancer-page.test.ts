import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { expositionProblems } from "../../templates/haproxy/src/testing";
import { Balancer, balancerImage, ConsulAlone, Instance } from "./balancer";
import { inBrowser } from "./browser";
import { docker } from "./docker";
import { get, until } from "./http";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";

// The load balancer's page and endpoints, and its read-only commands.

let consul: ConsulAlone;
let balancer: Balancer;
let one: Instance;
let two: Instance;
const files = scratch();

/** Runs the image the way its README describes. */
const run = async (...args: string[]): Promise<string> =>
  docker("run", "--rm", "--network", "host", "-v", `${files.path}:/s:ro`, await balancerImage(), ...args);

const routed = (path: string): Promise<unknown> =>
  until(`${balancer.url}${path}`, ({ status }) => status === 200);

beforeAll(async () => {
  // The image's user does not exist here, and only its owner may read a temporary folder.
  chmodSync(files.path, 0o755);
  consul = await ConsulAlone.start({ name: "pg-t", port: 25_000 });
  balancer = await Balancer.start({ name: "pg-t", port: 25_010, consul: consul.address });
  one = await Instance.start("one");
  two = await Instance.start("two");
  await consul.register("shop/v1", one.port);
  await consul.register("shop/v1", two.port, { Meta: { weight: "50" } });
  await routed("/shop");
});
afterAll(tearDown);

const routedTo = async (path: string): Promise<string> => (await get(`${balancer.url}${path}`)).body;

const instances = (page: Page) => page.locator('[id="service-shop/v1"] .instances');

test("the page shows URLs, the reasons for their routes and their instances, and updates without a reload", async () => {
  const seen = await inBrowser(async (page) => {
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => errors.push(message.text()));
    await page.goto(balancer.admin);
    await page.evaluate("window.stayed = true");
    await page.locator("#routes tr", { hasText: "/shop/v1" }).getByText("2 up").waitFor();
    const routes = await page.locator("#routes").innerText();
    expect(await instances(page).innerText()).toContain("weight 50");
    await consul.register("late", one.port);
    await page.locator("#routes tr", { hasText: "/late" }).getByText("1 up").waitFor();
    await page.locator("#changes tr", { hasText: "late" }).first().waitFor();
    const change = await page.locator("#changes tbody tr").first().innerText();
    expect(await page.evaluate("window.stayed")).toBe(true);
    return { routes, change, errors };
  });
  expect(seen.routes).toContain("newest version with healthy instances");
  expect(seen.change).toMatch(/late.*\d ms/s);
  expect(seen.errors).toEqual([]);
  await consul.deregister("late", one.port);
});

test("an update keeps the focus and announces only the state", async () => {
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    const versions = page.locator("#routes tr", { hasText: "newest version" });
    await versions.getByRole("link").focus();
    await page.evaluate("window.before = document.activeElement");
    await consul.register("another", one.port);
    await page.locator("#routes tr", { hasText: "/another" }).waitFor();
    expect(await page.evaluate("window.before.isConnected")).toBe(false);
    expect(await versions.locator("a:focus").count()).toBe(1);

    expect(await page.getByRole("status").innerText()).toBe("Ready.");
    await consul.register("another", one.port, { Meta: { weight: "many" } });
    await page.getByRole("status").getByText("Ready. 1 needs attention.").waitFor();
    expect(await versions.locator("a:focus").count()).toBe(1);
  });
  await consul.deregister("another", one.port);
});

test("an instance that waits for its health check is not shown as gone, and each event is one line of the log", async () => {
  const service = "slow/v1";
  const others = await Promise.all(["first", "second"].map((name) => Instance.start(name)));
  const [first, second] = others.map(({ port }) => port) as [number, number];
  const check = (port: number, status: string) =>
    consul.put(`agent/check/update/slow-${port}`, { Status: status });
  const changes = async (): Promise<string> => {
    const routes = await balancer.routes<{ changes: { what: string }[] }>();
    return routes.changes.map(({ what }) => what).join("\n");
  };
  const changed = (sentence: string) => expect.poll(changes, { timeout: 10_000 }).toContain(sentence);
  const register = (port: number, more: object) =>
    consul.register(service, port, {
      Check: { CheckID: `slow-${port}`, TTL: "1h", Status: "warning" },
      ...more,
    });
  // Consul may show an instance before its check. So both are registered without a route first.
  for (const port of [first, second]) await register(port, { Tags: [] });
  const { headers } = await get(`http://${consul.address}/v1/health/state/any`);
  const index = Number(headers["x-consul-index"]);
  await until(`${balancer.admin}/ready?index=${index}`, ({ status }) => status === 200);
  for (const port of [first, second]) await register(port, {});
  for (const port of [first, second])
    await changed(`${service} 127.0.0.1:${port} waits for its health check, and serves while none passes`);
  await check(first, "passing");
  await changed(`${service} 127.0.0.1:${second} waits for its health check\n`);
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    await page.locator('[id="service-slow/v1"] li').getByText("waits for its health check").waitFor();
    expect(await page.locator("dl.tiles").innerText()).toContain("1 waiting for a health check");
  });
  await check(second, "passing");
  await changed(`${service} + 127.0.0.1:${second}`);
  for (const port of [first, second]) await register(port, { Meta: { balance: "leastconn" } });
  await changed(`service ${service} has other options (balance roundrobin -> balance leastconn)`);
  await check(second, "critical");
  await changed(`${service} 127.0.0.1:${second} fails its health check`);
  expect(await changes()).not.toContain(`${service} - `);
  others[0]?.stop();
  await expect
    .poll(() => balancer.logs(), { timeout: 15_000 })
    .toMatch(
      new RegExp(
        `^switchyard: slow/v1 127.0.0.1:${first} is DOWN: Layer4.*refused.*\\(no instance is up\\)$`,
        "m",
      ),
    );
  const log = await balancer.logs();
  expect(log).not.toMatch(/Server .* is |\bhas no server/);
  const address = `127.0.0.1:${second}`;
  // What HAProxy itself finds depends on how busy the machine is.
  const found = new RegExp(`^switchyard: ${service} ${address} (does not answer yet|answers|is (UP|DOWN): )`);
  const lines = log.split("\n").filter((line) => line.includes(address) && !found.test(line));
  expect(lines).toEqual(
    [
      `${address} waits for its health check, and serves while none passes`,
      `${address} waits for its health check (`,
      `+ ${address} (`,
      `${address} fails its health check (`,
    ].map((what) => expect.stringContaining(what) as string),
  );
  await consul.deregister(service, first);
  await consul.deregister(service, second);
  await changed(`${service} - 127.0.0.1:${first}`);
});

test("the page shows an instance that died without deregistering as down", async () => {
  const stray = await Instance.start("stray");
  await consul.register("shop/v1", stray.port);
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    const line = instances(page).locator("li", { hasText: `:${stray.port}` });
    await line.getByText("up", { exact: true }).waitFor();
    stray.stop();
    await line.getByText("down", { exact: true }).waitFor();
    await line.getByText("refuses connections").waitFor();
    expect(await page.locator("dl.tiles").innerText()).toContain("1 down");
  });
  const admin = balancer.admin.replace("http://", "--admin=");
  const explained = await run("explain", "http://localhost/shop", `--consul=${consul.address}`, admin);
  expect(explained).toContain("goes to one of 2 instances of shop/v1");
  expect(explained).toMatch(/^checks +those of the load balancer/m);
  expect(explained).toMatch(
    new RegExp(`127.0.0.1:${stray.port} of shop/v1, .*finds it down: refuses connections`),
  );
  await consul.deregister("shop/v1", stray.port);
});

test("the page shows the failing health check of a waiting instance", async () => {
  const ill = await Instance.start("ill", (_, response) => {
    response.statusCode = 500;
    response.end();
  });
  await consul.register("ill", ill.port);
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    const line = page.locator('[id="service-ill"] li', { hasText: `:${ill.port}` });
    await line.getByText("starting", { exact: true }).waitFor();
    await line.getByText("answers its health check with an error").waitFor();
  });
  await consul.deregister("ill", ill.port);
  ill.stop();
});

test("the page shows hostile registrations as inert text", async () => {
  const script = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>";
  await consul.register(`"'>${script}`, 1);
  await consul.register("evil", 2, { Meta: { path: `/${script}` } });
  await consul.register("evil/tag", 3, { Meta: { weight: "</code></li>" + script } });
  await consul.put("kv/service/haproxy/versions/shop", script);
  await inBrowser(async (page) => {
    const dialogs: string[] = [];
    page.on("dialog", (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    await page.goto(`${balancer.admin}/?q=${encodeURIComponent(`shop"><script>window.hacked=1</script>`)}`);
    await page.goto(balancer.admin);
    await page.locator("#attention li", { hasText: "SERVICE_WEIGHT" }).waitFor();
    await page.locator("#attention li", { hasText: "service/haproxy/versions/shop" }).waitFor();
    const text = await page.locator("#attention").innerText();
    expect(text).toContain("<script>window.hacked=1</script>");
    expect(text).toContain("quarantined");
    expect(await page.evaluate("window.hacked")).toBeUndefined();
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.locator("script").count()).toBe(1);
    expect(dialogs).toEqual([]);
  });
  await consul.put("agent/service/deregister/" + encodeURIComponent(`"'>${script}:1`), "");
  await consul.deregister("evil", 2);
  await consul.deregister("evil/tag", 3);
  await fetch(`http://${consul.address}/v1/kv/service/haproxy/versions/shop`, { method: "DELETE" });
});

test("explain shows the value in force, not an unusable value from Consul", async () => {
  await consul.register("old/v1", one.port);
  await consul.register("old/v2", two.port);
  await until(`${balancer.url}/old`, ({ body }) => body === "two");
  await consul.put("kv/service/haproxy/versions/old", "v1");
  await until(`${balancer.url}/old`, ({ body }) => body === "one");
  await consul.put("kv/service/haproxy/versions/old", "v1=50");
  const { body } = await until(`${balancer.admin}/explain?url=/old`, (answer) =>
    answer.body.includes("v1=50"),
  );
  expect(body).toMatch(/^\/old: goes to the instance of old\/v1\.$/m);
  expect(await routedTo("/old")).toBe("one");
  const json = await get(`${balancer.admin}/explain?url=http://x.org/old&version=v2&json`);
  expect(JSON.parse(json.body)).toMatchObject({ answer: "proxied", targets: [{ service: "old/v2" }] });
  expect((await get(`${balancer.admin}/explain?url=old`)).status).toBe(400);
  await fetch(`http://${consul.address}/v1/kv/service/haproxy/versions/old`, { method: "DELETE" });
  await consul.deregister("old/v1", one.port);
  await consul.deregister("old/v2", two.port);
});

test("the content security policy allows only the page's own resources, and the page refreshes without scripts", async () => {
  const { headers, body } = await get(`${balancer.admin}/`);
  expect(headers["content-security-policy"]).toMatch(
    /^default-src 'none'; style-src 'self'; script-src 'self';/,
  );
  expect(body).toContain('<noscript><meta http-equiv="refresh"');
  expect(body).not.toMatch(/<[^>]+\s(style|on\w+)=/);
});

test("/ready waits for a Consul index", async () => {
  const { index } = JSON.parse((await get(`${balancer.admin}/ready`)).body) as { index: number };
  expect((await get(`${balancer.admin}/ready?index=${index}`)).status).toBe(200);
  const later = await get(`${balancer.admin}/ready?index=${index + 100_000}`);
  expect(later.status).toBe(503);
  expect(later.body).toContain("is not in force yet");
  for (const bad of ["-1", "x", "", "1e3"])
    expect((await get(`${balancer.admin}/ready?index=${bad}`)).status).toBe(400);
  await consul.register("next", one.port);
  const written = await get(`http://${consul.address}/v1/catalog/service/next`);
  const wanted = Number(written.headers["x-consul-index"]);
  const then = await until(`${balancer.admin}/ready?index=${wanted}`, ({ status }) => status === 200);
  expect(then.status).toBe(200);
  await consul.deregister("next", one.port);
});

test("/metrics is valid, with our metrics and HAProxy's", async () => {
  const { body } = await get(`${balancer.admin}/metrics`);
  expect(expositionProblems(body)).toEqual([]);
  for (const line of [
    /^switchyard_ready 1$/m,
    /^switchyard_consul_connected 1$/m,
    /^switchyard_consul_applied_index [1-9]/m,
    /^switchyard_convergence_seconds_count [1-9]/m,
    /^switchyard_operations_total\{kind="add"\} [1-9]/m,
    /^haproxy_backend_http_responses_total\{/m,
    /^haproxy_process_nbthread /m,
  ])
    expect(body).toMatch(line);
});

test("explain, snapshot and diff show the current, past and proposed routing", async () => {
  const before = await run("snapshot", `--consul=${consul.address}`);
  writeFileSync(join(files.path, "before.json"), before);
  const explained = await run("explain", "http://localhost/shop/x", `--consul=${consul.address}`);
  expect(explained).toContain("goes to one of 2 instances of shop/v1");
  expect(explained).toContain(`127.0.0.1:${two.port} of shop/v1, weight 50`);
  await consul.register("shop/v2", one.port, { Check: { TTL: "1h", Status: "passing" } });
  writeFileSync(join(files.path, "after.json"), await run("snapshot", `--consul=${consul.address}`));
  await consul.deregister("shop/v2", one.port);
  const changes = await run("diff", "/s/before.json", "/s/after.json");
  expect(changes).toContain("~ /shop -> shop/v2, was shop/v1\n+ /shop/v2 -> shop/v2\n");
  expect(changes).toContain("At run time: 3 operations, no reload");
  expect(JSON.parse(await run("diff", "/s/after.json", "/s/before.json", "--json"))).toMatchObject({
    summary: "1 URL goes, 1 moves, 1 service changed",
  });
  await expect(run("explain", "/shop", "--snapshot=/s/none")).rejects.toThrow("cannot be read");
});

test("the page shows how long the load balancer has been unreachable, until it answers", async () => {
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    const alert = page.getByRole("alert");
    expect(await alert.isVisible()).toBe(false);
    await docker("kill", balancer.container);
    await alert
      .getByText(/^No answer since \d+:\d\d:\d\d.*\. The page shows the state at that time\.$/)
      .waitFor();
    expect(await page.title()).toContain("no answer");
    expect(await page.evaluate("getComputedStyle(document.querySelector('main')).opacity")).toBe("0.6");
    await docker("start", balancer.container);
    await alert.waitFor({ state: "hidden" });
    expect(await page.evaluate("getComputedStyle(document.querySelector('main')).opacity")).toBe("1");
  });
});
