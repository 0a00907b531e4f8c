import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rootCertificates } from "node:tls";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { buildRouting } from "../../routing/build";
import { publicAuthorities } from "../../routing/options/proto";
import type { Catalog } from "../../routing/types";
import { render, toConfig, toMapFile } from "../../templates/haproxy/src/config/render";
import { errorPage, errorPageName, errorPages } from "../../templates/haproxy/src/config/sections";
import { catalogs, renderOptions } from "../../templates/haproxy/src/testing";
import { Balancer, balancerImage, ConsulAlone, Instance } from "./balancer";
import { docker } from "./docker";
import { get, until } from "./http";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";

const prefix = "cs-t-hostile";
/** Set HOSTILE_CATALOGS for more; HAProxy checks each in about 10 ms. */
const count = Number(process.env["HOSTILE_CATALOGS"] ?? 800);
const seed = Number(process.env["HOSTILE_SEED"] ?? 4);

let consul: ConsulAlone;
let balancer: Balancer;
let instance: Instance;

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: prefix, port: 27_100 });
  balancer = await Balancer.start({ name: prefix, port: 27_110, consul: consul.address });
  instance = await Instance.start("bystander");
  await consul.register("bystander", instance.port);
  await until(`${balancer.url}/bystander`, ({ status }) => status === 200);
});
afterAll(tearDown);

test(`HAProxy accepts the configuration rendered from ${count} random catalogs, including hostile ones`, async () => {
  const folder = scratch();
  chmodSync(folder.path, 0o755);
  try {
    for (const [status, text] of Object.entries(errorPages))
      writeFileSync(join(folder.path, errorPageName(status)), errorPage(Number(status), text));
    mkdirSync(join(folder.path, "authorities"));
    writeFileSync(join(folder.path, "authorities", publicAuthorities), rootCertificates.join("\n"));
    const sample: Catalog[] = fc.sample(catalogs, { numRuns: count, seed });
    sample.forEach((catalog, index) => {
      const dir = `/c/${index}`;
      const rendered = render(buildRouting(catalog), { ...renderOptions, dir, runDir: "/tmp" });
      mkdirSync(join(folder.path, String(index)));
      const write = (name: string, content: string) => {
        writeFileSync(join(folder.path, String(index), name), content);
      };
      // All catalogs share the error pages and the public authorities.
      const shared = / \/c\/\d+\/(\d+\.http|authorities)$/gm;
      write("haproxy.cfg", toConfig(rendered).replaceAll(shared, " /c/$1"));
      for (const [name, map] of Object.entries(rendered.maps)) write(name, toMapFile(map));
      write("inside.list", "10.0.0.5\n172.17.0.0/16\n");
    });
    const check =
      "cd /c && for d in [0-9]*/; do haproxy -c -q -f $d/haproxy.cfg >/tmp/out 2>&1 || { echo $d; cat /tmp/out; }; done; echo checked $(ls -d [0-9]*/ | wc -l)";
    const container = [
      "run",
      "--rm",
      "--network",
      "none",
      "--cap-drop",
      "ALL",
      "--cap-add",
      "NET_BIND_SERVICE",
    ];
    const mounts = ["-v", `${folder.path}:/c:ro`, "-e", "STATS_USER=u", "-e", "STATS_PASSWORD=p"];
    const image = await balancerImage();
    const output = await docker(...container, ...mounts, "--entrypoint", "sh", image, "-c", check);
    expect(output).toBe(`checked ${count}`);
  } finally {
    folder.remove();
  }
}, 600_000);

test("10,000 invalid services do not affect the valid ones and use little log and memory", async () => {
  const bad = Array.from({ length: 10_000 }, (_, index) => ({
    Service: {
      Verb: "set",
      Node: prefix,
      Service: {
        ID: `bad-${index}`,
        Service: index % 2 === 0 ? `bad ${index}\n  http-request deny` : `bad-${index}`,
        Address: "127.0.0.1",
        Port: 9,
        Tags: ["rest"],
        Meta: { weight: "1 ; shutdown sessions" },
      },
    },
  }));
  const statuses = new Set<number>();
  for (let from = 0; from < bad.length; from += 60) {
    await consul.put("txn", bad.slice(from, from + 60));
    statuses.add((await get(`${balancer.url}/bystander`)).status);
  }
  const quarantined = async () => (await balancer.routes<{ quarantined: unknown[] }>()).quarantined.length;
  await expect.poll(quarantined, { timeout: 30_000, interval: 1_000 }).toBe(10_000);
  // A valid service registered after all of them is routed as usual.
  await consul.register("good", instance.port);
  await until(`${balancer.url}/good`, ({ status }) => status === 200);
  expect([...statuses]).toEqual([200]);
  const log = await balancer.logs();
  expect(log.split("\n").filter((line) => line.includes("quarantined")).length).toBeLessThanOrEqual(60 * 3);
  expect(log).toContain("/routes on the admin port");
  const memory = await docker("exec", balancer.container, "sh", "-c", "grep VmRSS /proc/1/status");
  expect(Number(/\d+/.exec(memory)?.[0]) / 1024).toBeLessThan(250);
});

test("the container runs without root, on a read-only file system, with private sockets", async () => {
  const inspect = await docker("inspect", balancer.container);
  const [{ HostConfig: host }] = JSON.parse(inspect) as [
    { HostConfig: { ReadonlyRootfs: boolean; CapDrop: string[]; CapAdd: string[]; Privileged: boolean } },
  ];
  expect(host).toMatchObject({ ReadonlyRootfs: true, CapDrop: ["ALL"], Privileged: false });
  const exec = (command: string) => docker("exec", balancer.container, "sh", "-c", command);
  expect(await exec("id -u; id -g")).toBe("10001\n10001");
  // Only HAProxy has a capability: its file grants the one to bind low ports.
  const capabilities = await exec("for p in /proc/[0-9]*; do cat $p/comm; grep CapEff $p/status; done");
  const allowed = /^(haproxy\nCapEff:\s0{13}400|\w+\nCapEff:\s0{16})$/;
  expect(capabilities.split(/\n(?=\w+\nCapEff)/).filter((each) => !allowed.test(each))).toEqual([]);
  expect(await exec("find /var/lib/switchyard -type s -exec stat -c '%a' {} + | sort -u")).toBe("600");
  expect(await exec("stat -c '%a %u' /var/lib/switchyard /var/lib/switchyard/run")).toBe(
    "700 10001\n700 10001",
  );
  expect(await exec("find /var/lib/switchyard -type f -perm /077 | wc -l")).toBe("0");
  expect(await exec("touch /x 2>&1 || true")).toContain("Read-only");
});
