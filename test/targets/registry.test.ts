import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { baseImage } from "../e2e/bases";
import { docker, lines } from "../e2e/docker";
import { bootMachines, Machine, removeMachines } from "../e2e/machines";
import { scratch } from "../e2e/scratch";
import { clusterStack as stack, run, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";

// A private registry on the first of two machines: what the stack builds is pushed once, and pulled with a login.

const one = new Machine("one", 1);
const two = new Machine("two", 2);
const host = `${one.address}:5000`;
const user = "acme";
const password = "a-well-kept-word";
const registry = "e2e-registry";

const image = `
  RUN apt-get update && apt-get install -y --no-install-recommends docker-registry apache2-utils
  ENV REGISTRY_AUTH=htpasswd REGISTRY_AUTH_HTPASSWD_REALM=e2e REGISTRY_AUTH_HTPASSWD_PATH=/htpasswd
  CMD ["sh", "-c", "printenv PASSWORD | htpasswd -Bni acme >/htpasswd && exec docker-registry serve /etc/docker/registry/config.yml"]`;

const configure = (version: number): void => {
  const hosts = [one, two].map(({ name, address, dockerHost }) => ({ name, address, docker: dockerHost }));
  const services = [
    { name: "hello", build: "hello", port: 8080, replicas: 2, placement: { max_replicas_per_node: 1 } },
    {
      name: "private",
      type: "none",
      image: `${host}/private:${version}`,
      command: ["sleep", "3600"],
      placement: { constraints: ["node.hostname==two"] },
    },
  ];
  stack.configure(services, { target: "hosts", hosts, registry: `${host}/built` });
};
const login = async (word: string): Promise<void> => {
  for (const [key, value] of [["username", user], ["password", word]] as const)
    succeeded(await stack.setSecret(`registries["${host}"].${key}`, value));
}; // prettier-ignore

beforeAll(async () => {
  const { path } = scratch();
  writeFileSync(join(path, "Dockerfile"), `FROM ${baseImage}${image}`);
  await docker("build", "-q", "-t", registry, path);
  afterwards(removeMachines);
  await bootMachines([one, two]);
  afterwards(() => stack.remove());
  for (const machine of [one, two]) {
    await machine.configureEngine({ "insecure-registries": [host] });
    await vi.waitFor(async () => {
      expect(await machine.docker("info")).toContain(host);
    }, 30_000);
  }
  await one.load(registry);
  await one.docker("run", "-d", "--name", registry, "--network", "host", "-e", `PASSWORD=${password}`, registry);
  const dial = `exec 3<>/dev/tcp/${host.replace(":", "/")}`;
  await vi.waitFor(() => one.inNetwork("bash", "-c", dial), 30_000);
  // Somebody else has built and pushed it.
  const config = scratch().path;
  const asUser = (script: string) => run("bash", ["-c", script, one.dockerHost, config, host, baseImage]);
  succeeded(await asUser(`printf %s ${password} | docker -H $0 --config $1 login -u ${user} --password-stdin $2`));
  succeeded(await asUser("docker -H $0 tag $3 $2/private:1 && docker -H $0 --config $1 push $2/private:1"));
}); // prettier-ignore

afterAll(tearDown);

/** The images that the registry has got, by their manifests. */
const pushed = async (): Promise<string[]> => {
  const log = lines(await one.docker("logs", registry));
  return log.flatMap((line) => /"PUT \/v2\/(\S+)\/manifests\//.exec(line)?.[1] ?? []).sort();
};

test("images are built and pushed once, and each machine pulls them with the login", async () => {
  configure(1);
  await login(password);
  const { output } = succeeded(await stack.up());
  expect(output).not.toContain(password);
  const names = await pushed();
  expect(names).toContain("built/hello");
  expect(new Set(names).size, names.join()).toBe(names.length);
  for (const machine of [one, two])
    expect(await machine.docker("ps", "--format", "{{.Image}}", "--filter", "name=hello.")).toContain(
      `${host}/built/hello`,
    );
  expect(await two.docker("ps", "--format", "{{.Image}}", "--filter", "name=private.")).toBe(
    `${host}/private:1`,
  );
});

test("a wrong password is named by its key", async () => {
  const places = `registries["${host}"] or \`docker login ${host}\``;
  configure(2);
  await login("a-wrong-word");
  const failed = await stack.up();
  expect(failed.code).not.toBe(0);
  expect(failed.output).toContain(places);
  expect(failed.output).not.toContain("a-wrong-word");
  expect(await two.docker("ps", "--format", "{{.Image}}", "--filter", "name=private.")).toBe(
    `${host}/private:1`,
  );
});
