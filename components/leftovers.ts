/**
 * Containers that a killed run of this stack left: created, but not recorded in the state. Without this, every later run
 * would fail because their names are taken. They are removed and not adopted: the engine cannot tell whether one that it did
 * not record was made from the inputs of today, and making it again takes no longer than the run that was killed.
 */
import * as pulumi from "@pulumi/pulumi";

import { api, connect, unless } from "../providers/client";
import { find } from "../providers/containers";
import { OWNER_LABEL, stackOwner } from "../providers/owner";
import type { DockerNode } from "./nodes/node";

/** The label that every container of the stack has. */
export const ownerLabel = () => ({ label: OWNER_LABEL, value: stackOwner() });

/**
 * Options for a container with the {@link ownerLabel}: right before it is created, one of the same name and owner is removed.
 * Such a container is not in the state, or the engine would have deleted it first.
 */
export function replacesLeftover({
  host,
  sshOpts,
}: Pick<DockerNode, "host" | "sshOpts">): pulumi.CustomResourceOptions {
  // The embedded engine removes leftovers itself, and Pulumi's mocks do not know hooks.
  if (!("registerResourceHook" in (pulumi.runtime.getMonitor() ?? {}))) return {};
  const owner = stackOwner();
  const beforeCreate = async (args: pulumi.ResourceHookArgs): Promise<void> => {
    const engine = { host: await valueOf(host), sshOpts: await valueOf(pulumi.output(sshOpts)), owner };
    await removeLeftover(engine, args, (line) => void pulumi.log.info(line));
  };
  return { hooks: { beforeCreate: [beforeCreate] } };
}

interface Engine {
  readonly host: string;
  readonly sshOpts?: readonly string[] | undefined;
  /** The stack. */
  readonly owner: string;
}

/** Removes a container that has the name of the one that is about to be created, if the stack made it. */
export async function removeLeftover(
  { host, sshOpts, owner }: Engine,
  { newInputs }: pulumi.ResourceHookArgs,
  say: (line: string) => void,
): Promise<void> {
  const { name } = newInputs as { readonly name: string };
  const docker = connect(host, { sshOpts });
  const found = await find(docker, name);
  if (found?.Config.Labels?.[OWNER_LABEL] !== owner) return;
  say(`Removing container ${name}, which an interrupted run left.`);
  await unless([404], api(docker, "DELETE", `/containers/${found.Id}`, { query: { force: true, v: true } }));
}

const valueOf = <T>(output: pulumi.Output<T>): Promise<T> =>
  new Promise((resolve) => output.apply(resolve as (value: unknown) => void));
