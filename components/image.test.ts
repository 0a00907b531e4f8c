import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { Images, type ImagesArgs } from "./image";
import type { FolderBuild } from "./config/build";
import type { DockerNode } from "./nodes/node";

let made: { type: string; name: string; inputs: Readonly<Record<string, unknown>> }[];

beforeAll(() =>
  pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      made.push({ type: type.replace(/.*:/, ""), name, inputs: inputs as Record<string, unknown> });
      const { imageName } = inputs as { imageName?: string };
      return {
        id: name,
        state: { ...(inputs as object), reference: `${imageName ?? ""}@sha256:1`, imageId: "1" },
      };
    },
    call: () => ({}),
  }),
);
beforeEach(() => {
  made = [];
});

const valueOf = <T>(output: pulumi.Output<T>): Promise<T> =>
  new Promise((resolve) => {
    output.apply(resolve);
  });

function imagesOn(names: readonly string[], more: Partial<ImagesArgs> = {}): Images {
  const nodes = names.map((name) => {
    const provider = new docker.Provider(name, {});
    return { name, platform: "linux/amd64", provider, host: pulumi.output("unix:///x") };
  });
  return new Images(nodes as unknown as DockerNode[], { base: "debian:13", source: "unix:///x", ...more });
}

const ofType = (type: string) => made.filter((resource) => resource.type === type);

it("builds a template once per base image", async () => {
  const images = imagesOn(["one"]);
  const names = await Promise.all(
    [images.build("hello"), images.build("hello", { base: "debian:12" }), images.build("hello")].map(valueOf),
  );
  expect(names[0]).toMatch(/^switchyard\/hello:[0-9a-f]{12}$/);
  expect(names[1]).not.toBe(names[0]);
  expect(names[2]).toBe(names[0]);
  expect(ofType("Image")).toMatchObject([
    { name: "one-hello", inputs: { imageName: names[0], build: { args: { BASE: "debian:13" } } } },
    {
      name: expect.stringMatching(/^one-hello-[0-9a-f]{12}$/) as string,
      inputs: { imageName: names[1], build: { args: { BASE: "debian:12" } } },
    },
  ]);
});

describe("a folder that is not in templates/", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "build-"));
    writeFileSync(join(folder, "Dockerfile"), "FROM scratch");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  const of = (more: Partial<FolderBuild> = {}): FolderBuild => ({
    context: folder,
    args: {},
    secrets: [],
    ...more,
  });

  it("is built on every node, and once for services with equal builds", async () => {
    const images = imagesOn(["one", "two"]);
    const names = await Promise.all([images.of("web", of()), images.of("worker", of())].map(valueOf));
    expect(names[0]).toMatch(/^switchyard\/web:[0-9a-f]{12}@/);
    expect(names[1]).toBe(names[0]);
    expect(ofType("ImageBuild")).toMatchObject(
      ["one", "two"].map((node) => ({
        name: `${node}-build-web`,
        inputs: {
          context: folder,
          dockerfile: join(folder, "Dockerfile"),
          platform: "linux/amd64",
          push: false,
        },
      })),
    );
  });

  it("gets another tag with another file, argument, target or platform, but not with another secret", async () => {
    const tagOf = async (more: Partial<FolderBuild> = {}, secret = "") => {
      await valueOf(imagesOn(["one"], { secrets: { token: secret } }).of("web", of(more)));
      return ofType("ImageBuild").at(-1)?.inputs["imageName"];
    };
    const secrets = ["token"];
    const tags = [
      await tagOf({ secrets }),
      await tagOf({ args: { A: "1" } }),
      await tagOf({ target: "app" }),
      await tagOf({ platform: "linux/arm64" }),
    ];
    expect(await tagOf({ secrets }, "other")).toBe(tags[0]);
    writeFileSync(join(folder, "more"), "");
    tags.push(await tagOf());
    expect(new Set(tags).size).toBe(5);
  });

  it("is pushed once to a registry, from which all nodes pull it", async () => {
    const image = imagesOn(["one", "two"], { registry: "ghcr.io/acme" }).of("web", of());
    expect(await valueOf(image)).toMatch(/^ghcr\.io\/acme\/web:[0-9a-f]{12}@sha256:1$/);
    expect(ofType("ImageBuild")).toMatchObject([{ inputs: { push: true } }]);
    expect(ofType("ImagePull").map(({ name }) => name)).toEqual(["one-build-web", "two-build-web"]);
  });

  it("must have a Dockerfile", () => {
    expect(() => imagesOn(["one"]).of("web", of({ dockerfile: "app.Dockerfile" }))).toThrow(
      `web has build: ${folder}: add ${folder}/app.Dockerfile, which does not exist`,
    );
  });
});
