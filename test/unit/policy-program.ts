import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { enforcePolicy } from "../../components/policy";
import { ImageBuild } from "../../providers/image-build/provider";

// Breaks the policy in the way given by the argument, against mocks, and prints the registered resources.

const broken: Readonly<Record<string, () => void>> = {
  directly: () => new docker.Container("it", { name: "it", image: "nginx:latest" }),
  "in an output": () => new docker.Container("it", { name: "it", image: pulumi.output("nginx").apply((name) => `${name}:latest`) }), // prettier-ignore
  "in a list": () =>
    new docker.Container("it", {
      image: "nginx:1.29",
      labels: [{ label: "SERVICE_IGNORE", value: "true" }],
      volumes: [{ hostPath: pulumi.output("/run/docker.sock"), containerPath: "/socket" }],
    }),
  "not even with a folder of its own": () => {
    const dockerfile = "templates/hello/Dockerfile";
    new ImageBuild("built", {
      host: "",
      imageName: "web:1",
      context: "",
      dockerfile,
      contextDigest: "",
      push: false,
    });
    return new docker.Container("it", { image: "web:1" });
  },
  "not at all": () =>
    new docker.Container("it", {
      image: pulumi.secret("nginx:1.29"),
      labels: [{ label: "SERVICE_IGNORE", value: "true" }],
    }),
};

async function main(how: string): Promise<void> {
  await pulumi.runtime.setMocks({
    call: ({ token }) => Promise.reject(new Error(token)),
    newResource: ({ name, inputs }) => {
      console.log(`registered ${name}`);
      return { id: name, state: inputs as object };
    },
  });
  await pulumi.runtime.runInPulumiStack(() => {
    enforcePolicy();
    broken[how]?.();
    return Promise.resolve();
  });
  await pulumi.runtime.disconnect();
}

const fail = (error: unknown): void => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
};
process.on("unhandledRejection", fail);
void main(process.argv[2] ?? "").catch(fail);
