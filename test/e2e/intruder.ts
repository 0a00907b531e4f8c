import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { beforeAll, describe, expect, test, vi } from "vitest";

import { metadataAddress } from "../../components/nodes/cloud-init";
import { baseImage, consulImage } from "./bases";
import { bridgeAddress, docker, publishedPorts, tasks } from "./docker";
import { get } from "./http";
import { scratch } from "./scratch";
import { run, stack } from "./stack";
import { afterwards } from "./tear-down";
import { there } from "./world";

// A hostile container, with Consul's CLI, a shell and the node's addresses, tries everything that it should not be able to do.

/** Builds the image of the hostile container: Consul's own has no bash. */
async function buildImage(): Promise<void> {
  const find = ["--entrypoint", "sh", consulImage, "-c", "command -v consul"];
  const consul = await docker("run", "--rm", ...find);
  const { path } = scratch();
  const copy = `COPY --from=${consulImage} ${consul} /usr/local/bin/consul`;
  writeFileSync(join(path, "Dockerfile"), `FROM ${baseImage}\n${copy}\n`);
  await docker("build", "-q", "-t", image, path);
}
const image = "e2e/intruder";

/** Starts a service like one of the stack's that somebody has taken over. Returns its container. */
async function startIntruder(): Promise<string> {
  const labels = ["--label", `switchyard.owner=${stack.owner}`];
  const entry = `echo '{"Kind":"service-defaults","Name":"shop"}' >/tmp/entry.json`;
  const create = ["service", "create", "-q", "--no-resolve-image", "--name", "intruder", ...labels];
  await docker(...create, "--entrypoint", "sh", image, "-c", `${entry} && exec sleep infinity`);
  afterwards(() => docker("service", "rm", "intruder"));
  return vi.waitFor(async () => {
    const [container] = await tasks("intruder");
    if (container === undefined) throw new Error("the intruder does not run yet");
    return container;
  }, 20_000);
}

const denied = /Permission denied|403/;
const refused = /Connection refused/;

/** What Consul's CLI is told, and its answer. */
const commands: [what: string, command: string, reason: RegExp][] = [
  ["registers a service", "services register -name=shop/v3 -port=80", denied],
  ["deregisters a service", "services deregister -id=$SHOP_ID", denied],
  ["writes a key", "kv put service/haproxy/maxconn 1", denied],
  ["reads a key", "kv get service/haproxy/maxconn", denied],
  ["deletes all keys", "kv delete -recurse service", denied],
  ["makes itself a manager", "acl bootstrap", /ACL bootstrap no longer allowed/],
  ["lists tokens", "acl token list", denied],
  ["lists policies", "acl policy list", denied],
  ["makes a token", "acl token create -policy-name=global-management", denied],
  ["guesses a token", "acl token read -self -token=11111111-2222-3333-4444-555555555555", /ACL not found/],
  ["lists servers", "operator raft list-peers", denied],
  ["removes a server", `operator raft remove-peer -address=${bridgeAddress}:8300`, denied],
  ["changes how servers are elected", "operator autopilot set-config -cleanup-dead-servers=true", denied],
  ["stops the agent", "leave", denied],
  ["takes the node out of service", "maint -enable", denied],
  ["removes a node", "force-leave local", denied],
  ["lists the keys of the gossip", "keyring -list", /denied by ACLs|Permission denied/],
  ["takes a snapshot", "snapshot save /tmp/snapshot", denied],
  ["reads the log", "monitor", denied],
  ["fires an event", "event -name=deploy", denied],
  ["locks a key", "lock service/haproxy/lock true", denied],
  ["decides how many instances there are", "kv put service/haproxy/autoscaler me", denied],
  ["makes up figures", "kv put service/autoscaler/figures/local 1", denied],
  ["writes a configuration entry", "config write /tmp/entry.json", denied],
  ["makes an intention", "intention create -deny shop web", denied],
  ["reads the agent's configuration", "info", denied],
];

/** What is sent to Consul's HTTP API. */
const requests: [what: string, method: string, path: string, body: string, reason: RegExp][] = [
  ["registers a node", "PUT", "catalog/register", '{"Node":"n","Address":"192.0.2.1"}', denied],
  ["writes keys in a transaction", "PUT", "txn", '[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}}]', denied],
  ["makes a prepared query", "POST", "query", '{"Name":"q","Service":{"Service":"shop"}}', denied],
  ["makes a session", "PUT", "session/create", "{}", denied],
  ["reads the agent's metrics", "GET", "agent/metrics", "", denied],
  ["changes the agent's token", "PUT", "agent/token/default", '{"Token":""}', denied],
];

/** Where it tries to connect, as a shell sees it. */
const connections: [what: string, address: string, port: string][] = [
  ["Consul's RPC", bridgeAddress, "8300"],
  ["Consul's gossip", bridgeAddress, "8301"],
  ["Consul's gossip between datacenters", bridgeAddress, "8302"],
  ["Swarm's API", bridgeAddress, "2377"],
  ["Swarm's gossip", bridgeAddress, "7946"],
  ["Docker's API", bridgeAddress, "2375"],
  ["Docker's API with TLS", bridgeAddress, "2376"],
  ["the statistics page", bridgeAddress, "1936"],
  ["the admin port", bridgeAddress, "8404"],
  ["the autoscaler's port", bridgeAddress, "8405"],
  ["an instance at its port on the node", bridgeAddress, "$INSTANCE_PORT"],
  ["an instance at its port on another address of the node", "$NODE_ADDRESS", "$INSTANCE_PORT"],
  ["the metadata service", metadataAddress, "80"],
];

/** What is not in the container. */
const files: [what: string, path: string][] = [
  ["Docker's socket", "/var/run/docker.sock"],
  ["the filtered socket", "/run/docker-socket-proxy/docker.sock"],
  ["the autoscaler's socket", "/run/autoscaler-docker/docker.sock"],
  ["Consul's tokens", "/secrets"],
  ["HAProxy's socket", "/var/lib/switchyard"],
];

/** The tries, from an instance of the stack's and from a container that somebody ran by hand. */
export function intrusions(nodeAddress: () => string): void {
  const places = { "an instance of a service": "", "a container by hand": "" };
  let env: string[] = [];
  const inside = async (place: keyof typeof places, script: string) => {
    const { code, output } = await run("docker", ["exec", ...env, places[place], "bash", "-c", script]);
    return { succeeded: code === 0, output };
  };

  beforeAll(async () => {
    await buildImage();
    const byHand = await docker("run", "-d", "--rm", "--entrypoint", "sleep", image, "infinity");
    afterwards(() => docker("rm", "-f", byHand));
    places["an instance of a service"] = await startIntruder();
    places["a container by hand"] = byHand;
    const [shop = ""] = await tasks("shop-v1");
    const network = ".NetworkSettings.Networks.bridge.IPAddress";
    // Whoever may ask DNS may see this as well.
    const found = JSON.parse((await get("http://localhost:8500/v1/catalog/service/shop/v1")).body) as {
      ServiceID: string;
    }[];
    const variables = {
      SHOP_ID: found[0]?.ServiceID ?? "",
      CONSUL_HTTP_ADDR: `${bridgeAddress}:8500`,
      INSTANCE_PORT: `${(await publishedPorts(shop))[0] ?? 0}`,
      INSTANCE_ADDRESS: await docker("inspect", "-f", `{{${network}}}`, shop),
      NODE_ADDRESS: nodeAddress(),
    };
    env = Object.entries(variables).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  });

  describe("an instance of a service that is taken over never", () => {
    test.each(commands)("%s", async (_, command, reason) => {
      const { succeeded, output } = await inside("an instance of a service", `timeout 5 consul ${command}`);
      expect(output).toMatch(reason);
      expect(succeeded).toBe(false);
    });

    test.each(requests)("%s", async (_, method, path, body, reason) => {
      const script = `
        exec 3<>/dev/tcp/${bridgeAddress}/8500
        printf '%s /v1/%s HTTP/1.0\\r\\nContent-Length: %s\\r\\n\\r\\n%s' ${method} ${path} ${body.length} '${body}' >&3
        cat <&3`;
      expect((await inside("an instance of a service", script)).output).toMatch(reason);
    });

    test("joins the gossip", async () => {
      const agent = `timeout 8 consul agent -data-dir=/tmp/agent -bind=$(hostname -i) -join=${bridgeAddress} -http-port=18500`;
      const { succeeded, output } = await inside("an instance of a service", `${agent} 2>&1`);
      expect(output).toMatch(/dial tcp .*8301: connect: connection refused/);
      expect(succeeded).toBe(false);
    });
  });

  describe.each(Object.keys(places) as (keyof typeof places)[])("%s never", (place) => {
    test.each(connections)("reaches %s", async (_, address, port) => {
      const { succeeded, output } = await inside(place, `exec 3<>/dev/tcp/${address}/${port}`);
      expect(output).toMatch(refused);
      expect(succeeded).toBe(false);
    });

    test.each(files)("sees %s", async (_, path) => {
      expect((await inside(place, `ls ${path}`)).output).toContain("No such file or directory");
    });

    test("reaches an instance at its own address", async () => {
      // Docker drops this without an answer.
      const { succeeded } = await inside(
        place,
        `timeout 1 bash -c 'exec 3<>/dev/tcp/$INSTANCE_ADDRESS/8080'`,
      );
      expect(succeeded).toBe(false);
    });

    test("is kept from what it needs", async () => {
      const answers = [`${bridgeAddress}/80`, `${there}/80`, `${bridgeAddress}/8500`, `${bridgeAddress}/53`];
      const script = answers.map((each) => `exec 3<>/dev/tcp/${each}`).join(" && ");
      expect(await inside(place, script)).toMatchObject({ succeeded: true });
    });
  });
}
