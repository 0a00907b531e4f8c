import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { pullLogin } from "./login";

let folder: string;
const configure = (config: object): void => {
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "docker-"));
  vi.stubEnv("DOCKER_CONFIG", folder);
  configure({ auths: { "ghcr.io": { auth: Buffer.from("me:mine").toString("base64") } } });
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const logins = {
  "ghcr.io": { username: "acme", password: "p" },
  "docker.io": { username: "hub", password: "h" },
};

it("is the configured one of the image's registry, or else that of docker login", async () => {
  expect(await pullLogin("ghcr.io/acme/web:1", logins)).toMatchObject({ username: "acme", password: "p" });
  expect(await pullLogin("ghcr.io/acme/web:1", undefined)).toMatchObject({
    username: "me",
    password: "mine",
  });
  expect(await pullLogin("nginx:1.29", logins)).toMatchObject({ username: "hub" });
  expect(await pullLogin("quay.io/acme/web:1", logins)).toBeUndefined();
});

it("is not sent for images that are in no registry", async () => {
  expect(await pullLogin("switchyard/web:1", logins)).toBeUndefined();
});

it("is left out if Docker's configuration is broken, which a warning says", async () => {
  const warn = vi.spyOn(console, "warn").mockReturnValue();
  configure({ credsStore: "nowhere" });
  expect(await pullLogin("nginx:1.29", {})).toBeUndefined();
  expect(warn).toHaveBeenCalledWith(
    expect.stringMatching(/^nginx:1\.29 is pulled without a login: .*nowhere/),
  );
});
