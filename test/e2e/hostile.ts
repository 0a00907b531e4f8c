import { expect, test } from "vitest";

import { deleteKey, deregister, putKey, register } from "./consul";
import { docker } from "./docker";
import { get, until } from "./http";

interface Routes {
  readonly routes: readonly { readonly url: string }[];
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
  readonly warnings: readonly { readonly subject: string; readonly message: string }[];
}

const routes = async (): Promise<Routes> =>
  JSON.parse((await get("http://localhost:8404/routes")).body) as Routes;
const configuration = (): Promise<string> =>
  docker("exec", "rest", "sh", "-c", "cat /var/lib/switchyard/*.cfg /var/lib/switchyard/*.map");

const injection = "evil\n  http-request return status 200 content-type text/plain string INJECTED\nbackend";

/** Hostile input from other clients is rejected and reported, and affects nothing else. */
export function hostileInput(bystander: string, image: () => Promise<string>): void {
  const base = { Address: "127.0.0.1", Port: 9, Tags: ["rest"] };
  const cases: [string, Record<string, unknown>][] = [
    ["a name with line breaks", { Name: injection }],
    ["a name with path traversal", { Name: "../../etc/passwd" }],
    ["a name with HAProxy's own syntax", { Name: "x %[src] }" }],
    ["a path with line breaks", { Name: "hostile-path", Meta: { path: `/a\n${injection}` } }],
    ["an invalid host", { Name: "hostile-host", Meta: { host: "a b\tc" } }],
    [
      "a health path with a second request",
      { Name: "hostile-check", Meta: { health_path: "/ HTTP/1.0\r\nX: y" } },
    ],
    ["a weight with trailing text", { Name: "hostile-weight", Meta: { weight: "1 ; shutdown sessions" } }],
    ["an invalid balance", { Name: "hostile-balance", Meta: { balance: "roundrobin\n  stats enable" } }],
    ["an address that is not an IP address", { Name: "hostile-address", Address: "a;b" }],
    ["another service's path", { Name: "hostile-thief", Meta: { path: `/${bystander}` } }],
    [
      "one of the load balancer's own ports",
      { Name: "hostile-port", Tags: ["tcp"], Meta: { tcp_port: "80" } },
    ],
  ];

  test.each(cases)("%s is rejected and reported, and affects nothing else", async (what, service) => {
    const id = `hostile ${what}`;
    await register({ ...base, ID: id, ...service });
    try {
      await expect
        .poll(async () => (await routes()).quarantined.map(({ subject }) => subject))
        .toContain(service["Name"]);
      expect((await get(`http://localhost/${bystander}`)).status).toBe(200);
      const rendered = await configuration();
      expect(rendered).not.toContain("INJECTED");
      expect(rendered).not.toContain("hostile-");
    } finally {
      await deregister(id);
    }
    await expect.poll(async () => (await routes()).quarantined).toEqual([]);
  });

  test("a tag with line breaks is ignored", async () => {
    await register({ ...base, ID: "hostile-tag", Name: "hostile-tag", Tags: [`rest\n${injection}`] });
    try {
      // The marker is registered later: once it is routed, the hostile tag has been seen.
      await register({ ...base, ID: "marker", Name: "marker" });
      await until("http://localhost/marker", ({ status }) => status !== 404);
      expect((await get("http://localhost/hostile-tag")).status).toBe(404);
      expect(await configuration()).not.toContain("INJECTED");
    } finally {
      await deregister("hostile-tag");
      await deregister("marker");
    }
  });

  test.each([
    ["maxconn", "1\n  stats enable"],
    ["timeouts/connect", "-5"],
    ["timeouts/server", "1h; shutdown"],
    ["versions/hello", "v1=50,v2=60"],
  ])("an invalid %s = %j is reported, and the previous value stays", async (key, value) => {
    const path = `service/haproxy/${key}`;
    await putKey(path, value);
    try {
      await expect.poll(async () => (await routes()).warnings.map(({ subject }) => subject)).toContain(path);
      expect((await get(`http://localhost/${bystander}`)).status).toBe(200);
      expect(await configuration()).not.toContain(value);
    } finally {
      await deleteKey(path);
    }
    await expect.poll(async () => (await routes()).warnings).toEqual([]);
  });

  test("a valid setting takes effect at once", async () => {
    await putKey("service/haproxy/maxconn", "1234");
    try {
      await expect.poll(configuration).toMatch(/maxconn 1234\b/);
    } finally {
      await deleteKey("service/haproxy/maxconn");
    }
  });

  test("a container with a hostile name is not registered, and Registrator keeps running", async () => {
    const name = ["-e", `SERVICE_NAME=${injection}`, "-e", "SERVICE_TAGS=rest"];
    const hostile = await docker("run", "-d", "-P", "--name", "e2e-hostile", ...name, await image());
    const harmless = await docker(
      "run",
      "-d",
      "-P",
      "-e",
      "SERVICE_NAME=after",
      "-e",
      "SERVICE_TAGS=rest",
      await image(),
    );
    try {
      expect((await until("http://localhost/after", ({ status }) => status === 200)).status).toBe(200);
      expect(await docker("logs", "registrator")).toMatch(/e2e-hostile.*SERVICE_NAME/);
      expect(await configuration()).not.toContain("INJECTED");
    } finally {
      await docker("rm", "-f", hostile, harmless);
    }
  });
}
