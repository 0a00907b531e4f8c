import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { beforeAll, expect, it } from "vitest";

import { Images } from "./image";
import type { DockerNode } from "./nodes/node";

const made: { name: string; imageName: unknown; base: unknown }[] = [];

beforeAll(() =>
  pulumi.runtime.setMocks({
    newResource: ({ type, name, inputs }) => {
      const { imageName, build } = inputs as { imageName?: string; build?: { args: { BASE: string } } };
      if (type === "docker:index/image:Image") made.push({ name, imageName, base: build?.args.BASE });
      return { id: name, state: inputs as object };
    },
    call: () => ({}),
  }),
);

const valueOf = <T>(output: pulumi.Output<T>): Promise<T> =>
  new Promise((resolve) => {
    output.apply(resolve);
  });

it("builds a template once per base image", async () => {
  const provider = new docker.Provider("one", {});
  const node = { name: "one", platform: "linux/amd64", provider, host: "unix:///x" } as unknown as DockerNode;
  const images = new Images([node], { base: "debian:13", source: "unix:///x" });
  const names = await Promise.all(
    [images.build("hello"), images.build("hello", { base: "debian:12" }), images.build("hello")].map(valueOf),
  );
  expect(names[0]).toMatch(/^switchyard\/hello:[0-9a-f]{12}$/);
  expect(names[1]).not.toBe(names[0]);
  expect(names[2]).toBe(names[0]);
  expect(made).toEqual([
    { name: "one-hello", imageName: names[0], base: "debian:13" },
    {
      name: expect.stringMatching(/^one-hello-[0-9a-f]{12}$/) as string,
      imageName: names[1],
      base: "debian:12",
    },
  ]);
});
