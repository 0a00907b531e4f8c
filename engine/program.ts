/** Runs the Pulumi program against a `Run` instead of the CLI's engine. */
import { createRequire } from "node:module";
import path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { RegisterResourceResponse, type RegisterResourceOutputsRequest, type RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb"; // prettier-ignore
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { UserError } from "../lib/errors";
import { goalOf } from "./goal";
import type { Config, Project } from "./project";
import type { Run } from "./run";
import type { WireMap } from "./wire";

type Answer<T> = (error: Error | null, response?: T) => void;

/** Features of our monitor. Without `aliasSpecs`, the SDK resolves aliases itself, including those of parents. */
const SUPPORTED = ["secrets", "resourceReferences", "deletedWith", "replaceWith"];

const struct = (value: WireMap): Struct => Struct.fromJavaScript(value);

/**
 * The methods that replace those of Pulumi's mock monitor, which `setMocks` installs. Mocks only see a resource's type, name
 * and inputs; requests also have its options, dependencies, secrets and unknowns.
 */
function monitor(run: Run, stack: string, project: string): object {
  const refuse = (what: string): void => {
    run.fail(
      new UserError(
        `The program ${what}, which the embedded engine does not support: use the Pulumi CLI (ENGINE=pulumi).`,
      ),
    );
  };
  return {
    registerResource(request: RegisterResourceRequest, answer: Answer<RegisterResourceResponse>): void {
      const respond = async (): Promise<void> => {
        const goal = goalOf(request, stack, project);
        const { id, outputs } = await run.register(goal);
        const response = new RegisterResourceResponse();
        response.setUrn(goal.urn);
        response.setId(id);
        response.setObject(struct(outputs));
        answer(null, response);
      };
      respond().catch((error: unknown) => {
        run.fail(error);
      });
    },
    registerResourceOutputs(request: RegisterResourceOutputsRequest, answer: Answer<object>): void {
      run.outputsOf(request.getUrn(), request.getOutputs()?.toJavaScript() ?? {});
      answer(null, {});
    },
    readResource: (request: { getName(): string; getType(): string }): void => {
      refuse(`reads the existing resource "${request.getName()}" (${request.getType()})`);
    },
    invoke: (request: { getTok(): string }): void => {
      refuse(`calls ${request.getTok()}`);
    },
    call: (request: { getTok(): string }): void => {
      refuse(`calls ${request.getTok()}`);
    },
    supportsFeature(request: { getId(): string }, answer: Answer<{ getHassupport(): boolean }>): void {
      answer(null, { getHassupport: () => SUPPORTED.includes(request.getId()) });
    },
  };
}

function forget(require: NodeJS.Require, before: ReadonlySet<string>): void {
  for (const file of Object.keys(require.cache)) {
    if (!before.has(file) && !file.includes(`${path.sep}node_modules${path.sep}`)) {
      Reflect.deleteProperty(require.cache, file);
    }
  }
}

export async function runProgram(
  run: Run,
  project: Project,
  stack: string,
  config: Config,
  dryRun: boolean,
): Promise<void> {
  const unexpected = (): Promise<never> => Promise.reject(new Error("the mock monitor was not replaced"));
  await pulumi.runtime.setMocks(
    { newResource: unexpected, call: unexpected },
    project.name,
    stack,
    dryRun,
    "organization",
  );
  Object.assign(pulumi.runtime.getMonitor() ?? {}, monitor(run, stack, project.name));
  pulumi.runtime.setAllConfig(config.values, config.secretKeys);

  const require = createRequire(path.join(project.dir, "Pulumi.yaml"));
  const before = new Set(Object.keys(require.cache));
  const onError = (error: unknown): void => {
    run.fail(error);
  };
  process.on("uncaughtException", onError);
  process.on("unhandledRejection", onError);
  const program = async (): Promise<void> => {
    try {
      await pulumi.runtime.runInPulumiStack(async () => {
        const exported = require(path.resolve(project.dir, project.main)) as unknown;
        const main = (exported as { default?: unknown }).default ?? exported;
        return (typeof main === "function" ? await (main as () => unknown)() : exported) as object;
      });
      await pulumi.runtime.disconnect();
      // Node reports unhandled rejections on the next turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      if (pulumi.log.hasErrors()) run.fail(new UserError("The program logged an error."));
    } catch (error) {
      run.fail(error);
    }
  };
  // Pending promises do not keep Node alive: without this listener, the process would end silently.
  const stuck = (): void => {
    run.fail(
      new UserError(
        "The program waits for an output that never resolves: look for a cycle between resources.",
      ),
    );
  };
  process.once("beforeExit", stuck);
  try {
    await Promise.race([program(), run.stopped]);
    await run.settle();
  } finally {
    process.off("beforeExit", stuck);
    forget(require, before);
    process.off("uncaughtException", onError);
    process.off("unhandledRejection", onError);
  }
}
