import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { credentialsFor, registryOf } from "./credentials";

const HUB = "https://index.docker.io/v1/";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "docker-"));
  vi.stubEnv("DOCKER_CONFIG", folder);
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env["PATH"] ?? ""}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const configure = (config: object): void => {
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
};
const base64 = (text: string) => Buffer.from(text).toString("base64");

/** A credential helper that records its calls. */
function helper(name: string, script: string): void {
  const file = join(folder, `docker-credential-${name}`);
  writeFileSync(
    file,
    `#!/bin/sh\nread -r server\necho "$* | $server" > ${join(folder, "called")}\n${script}\n`,
  );
  chmodSync(file, 0o755);
}
const called = () => readFileSync(join(folder, "called"), "utf8").trim();
const login = (username: string) => `echo '{"ServerURL":"x","Username":"${username}","Secret":"s3cret"}'`;

it.each([
  ["ghcr.io/acme/app:1", "ghcr.io"],
  ["localhost/app", "localhost"],
  ["registry:5000/app", "registry:5000"],
  ["acme/app:1", HUB],
  ["app", HUB],
  ["docker.io/acme/app", HUB],
  ["index.docker.io/acme/app", HUB],
])("finds the registry of %s: %s", (image, registry) => {
  expect(registryOf(image)).toBe(registry);
});

describe("a login in config.json", () => {
  it.each([
    ["ghcr.io", { "ghcr.io": { auth: base64("me:pass:word") } }],
    ["ghcr.io", { "https://ghcr.io/v1/": { auth: base64("me:pass:word") } }],
    [HUB, { [HUB]: { auth: base64("me:pass:word") } }],
  ])("is found for %s", async (registry, auths) => {
    configure({ auths });
    expect(await credentialsFor(registry)).toEqual({
      username: "me",
      password: "pass:word",
      serveraddress: registry,
    });
  });

  it("may be an identity token", async () => {
    configure({ auths: { "ghcr.io": { identitytoken: "token" } } });
    expect(await credentialsFor("ghcr.io")).toMatchObject({ identitytoken: "token", password: "" });
  });

  it("is undefined for a registry without one", async () => {
    expect(await credentialsFor("ghcr.io")).toBeUndefined();
    configure({ auths: { "quay.io": { auth: base64("me:x") }, "ghcr.io": {} } });
    expect(await credentialsFor("ghcr.io")).toBeUndefined();
  });

  it("is an error if the file is not JSON", async () => {
    writeFileSync(join(folder, "config.json"), "{");
    await expect(credentialsFor("ghcr.io")).rejects.toThrow(`${folder}/config.json cannot be read`);
  });
});

describe("a credential helper", () => {
  it("takes precedence: the registry's helper over the store, the store over the file", async () => {
    configure({ credHelpers: { "ghcr.io": "own" }, credsStore: "all", auths: { "ghcr.io": {}, [HUB]: {} } });
    helper("own", login("me"));
    helper("all", login("us"));
    expect(await credentialsFor("ghcr.io")).toEqual({
      username: "me",
      password: "s3cret",
      serveraddress: "ghcr.io",
    });
    expect(called()).toBe("get | ghcr.io");
    expect(await credentialsFor(HUB)).toMatchObject({ username: "us", serveraddress: HUB });
    expect(called()).toBe(`get | ${HUB}`);
  });

  it("may return a token", async () => {
    configure({ credsStore: "all" });
    helper("all", login("<token>"));
    expect(await credentialsFor("ghcr.io")).toMatchObject({ identitytoken: "s3cret", password: "" });
  });

  it("may have no login", async () => {
    configure({ credsStore: "all" });
    helper("all", "echo credentials not found in native keychain; exit 1");
    expect(await credentialsFor("ghcr.io")).toBeUndefined();
  });

  it.each([
    ["fails", "echo the keychain is locked; exit 1", "the keychain is locked"],
    ["prints something else", "echo hello", "its output is not JSON"],
    ["prints no login", "echo '{}'", "its output contains no login"],
  ])("that %s is reported, not treated as a missing login", async (_case, script, why) => {
    configure({ credsStore: "all" });
    helper("all", script);
    await expect(credentialsFor("ghcr.io")).rejects.toThrow(
      `credential helper docker-credential-all, configured in ${folder}/config.json, returned no login for ghcr.io (${why})`,
    );
  });

  it("that is not installed is reported", async () => {
    configure({ credsStore: "none" });
    await expect(credentialsFor("ghcr.io")).rejects.toThrow("docker-credential-none is not installed");
  });

  it("outside PATH is rejected", async () => {
    configure({ credsStore: "x/../../evil" });
    await expect(credentialsFor("ghcr.io")).rejects.toThrow("not a valid name of a helper");
  });
});
