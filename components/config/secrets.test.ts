import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { stringify } from "yaml";
import { expect, test } from "vitest";

import { refuseShownSecrets, requireEncrypted } from "./secrets";

const secure = { secure: "v1:x:y" };

function check(services: unknown, spelling = "switchyard:services"): void {
  const file = join(mkdtempSync(join(tmpdir(), "secrets-")), "Pulumi.dev.yaml");
  writeFileSync(file, stringify({ config: { [spelling]: services } }));
  refuseShownSecrets(["services"], "switchyard", file);
}

test("a service may have secrets in its variables and commands", () => {
  const healthCheck = { command: ["check", secure] };
  expect(() => { check([{ name: "a" }, { env: { A: "b", TOKEN: secure }, command: ["run", secure], healthCheck }]); }).not.toThrow(); // prettier-ignore
});

test.each([
  ["services[1].meta.path", [{ name: "a" }, { meta: { path: secure } }]],
  ["services[0].image", [{ image: secure }]],
  ["services", secure],
])("a secret at %s is rejected, because the routes show it", (key, services) => {
  expect(() => {
    check(services);
  }).toThrow(`Configuration switchyard:${key} is secret, but`);
});

test.each(["switchyard:config:services", "services"])("the spelling %s of the key is known", (spelling) => {
  expect(() => {
    check([{ meta: { path: secure } }], spelling);
  }).toThrow("Configuration switchyard:services[0].meta.path is secret, but");
});

test("values that are not in the stack file are not checked below the top level", () => {
  expect(() => {
    refuseShownSecrets(["services"], "switchyard", "none.yaml");
  }).not.toThrow();
  expect(() => {
    refuseShownSecrets(["registry"], "switchyard", "none.yaml");
  }).toThrow("registry is secret");
});

test("the password of a registry must be encrypted in the stack file", () => {
  const file = join(mkdtempSync(join(tmpdir(), "secrets-")), "Pulumi.dev.yaml");
  const check = (password: unknown) => {
    const registries = { "ghcr.io": { username: "acme", password } };
    writeFileSync(file, stringify({ config: { "switchyard:registries": registries } }));
    requireEncrypted("switchyard", file);
    refuseShownSecrets(["registries"], "switchyard", file);
  };
  expect(() => {
    check(secure);
  }).not.toThrow();
  expect(() => {
    check("plain");
  }).toThrow(
    /registries\.ghcr\.io\.password is in plain text in .*: script\/secret 'registries\["ghcr\.io"\]\.password'/,
  );
});

test("a secret of the stack must be encrypted in its file", () => {
  const file = join(mkdtempSync(join(tmpdir(), "secrets-")), "Pulumi.dev.yaml");
  const check = (secrets: unknown) => {
    writeFileSync(file, stringify({ config: { "switchyard:secrets": secrets } }));
    requireEncrypted("switchyard", file);
    refuseShownSecrets(["secrets"], "switchyard", file);
  };
  for (const good of [undefined, secure, { db: secure }]) expect(() => { check(good); }).not.toThrow(); // prettier-ignore
  expect(() => {
    check({ a: secure, db: "plain" });
  }).toThrow(/secrets\.db is in plain text in .*: script\/secret secrets\.db$/);
});
