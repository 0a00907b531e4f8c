import { randomBytes } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../dynamic-resource";
import type Docker from "dockerode";
import type { Logins } from "../../lib/credentials";
import { messageOf } from "../../lib/errors";
import { canonical } from "../../lib/values";
import { api, connect, dockerCommand, sameSsh, unless, type DockerError } from "../client";
import { OWNER_LABEL, ownerOf, stackOwner } from "../owner";
import { changedInputs, driftedInputs, meaningOf, nextSpec, replaced } from "./diff";
import type { FileInputs, MountInputs, UlimitInputs } from "./container";
import { endOfRun, forgetBefore, runBefore, waitUntilReleased } from "./job";
import {
  isJob,
  problemsIn,
  type HealthCheckInputs,
  type InputKey,
  type LimitInputs,
  type LoggingInputs,
  type NetworkInputs,
  type PortInputs,
  type ReplicaRangeInputs,
  type RestartInputs,
  type ServiceInputs,
  type UpdateInputs,
} from "./inputs";
import { pullLogin } from "./login";
import { buildSpec, inputsOf, type TaskSpec } from "./spec";
import { removeOrphans } from "../swarm-file";
import { isManager } from "../swarm/engine";
import { findService, settle, tasksOf, vanish, type ServiceDetails } from "./tasks";

export interface SwarmServiceArgs {
  /** The Docker URL of a manager of the Swarm. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The Swarm's ID. Changing it replaces the service. */
  readonly swarmId?: pulumi.Input<string> | undefined;
  /** The service's owner. A service of the same name with another owner is never touched. Default: `<project>/<stack>`. */
  readonly owner?: pulumi.Input<string> | undefined;
  /** A name that Swarm accepts: letters and digits, separated by single `-`, `_` or `.`. */
  readonly name: pulumi.Input<string>;
  /** An image that the nodes have or can pull. It is not resolved to a digest first. */
  readonly image: pulumi.Input<string>;
  /** Replaces the image's entry point. */
  readonly command?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** Replaces the image's command. */
  readonly args?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** A program, with arguments, that runs once before the first start and each rollout, in the new image. */
  readonly before?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** IDs of the nodes to spread over: a new one replaces the instances, as a rolling update does. Default: only what changes starts elsewhere. */
  readonly spreadOver?: pulumi.Input<readonly pulumi.Input<string>[]> | undefined;
  readonly env?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  /** Labels of the containers. */
  readonly labels?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  /** Labels of the service itself, with names that start with `switchyard.`. */
  readonly serviceLabels?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  /** A number, or a range in which something else chooses it: it starts with `min`, but not 0. Default: 1. */
  readonly replicas?: pulumi.Input<number | ReplicaRangeInputs> | undefined;
  /** The ports to publish on the node of each instance. Default: none. */
  readonly ports?: pulumi.Input<readonly PortInputs[]> | undefined;
  /** The networks on which services reach each other by name. Default: none. */
  readonly networks?: pulumi.Input<readonly pulumi.Input<NetworkInputs>[]> | undefined;
  /** Default: the image's own. */
  readonly healthCheck?: pulumi.Input<HealthCheckInputs> | undefined;
  /** Default: none. */
  readonly limits?: pulumi.Input<LimitInputs> | undefined;
  /** Name servers of the containers. Default: the engine's. */
  readonly dns?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** Entries for the containers' /etc/hosts: addresses by name. Default: none. */
  readonly hosts?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  /** How long an instance may take to stop before it is killed. Default: 10. */
  readonly stopGracePeriodSeconds?: pulumi.Input<number> | undefined;
  /** Placement constraints, such as `node.role==worker`. */
  readonly constraints?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  /** Node labels over whose values to spread the instances, such as `node.labels.zone`. */
  readonly spread?: pulumi.Input<readonly string[]> | undefined;
  readonly maxReplicasPerNode?: pulumi.Input<number> | undefined;
  /** One instance on every node instead of a number of them. */
  readonly global?: pulumi.Input<boolean> | undefined;
  readonly logging?: pulumi.Input<LoggingInputs> | undefined;
  readonly mounts?: pulumi.Input<readonly MountInputs[]> | undefined;
  /** Swarm secrets and configs, as files. */
  readonly secrets?: pulumi.Input<readonly FileInputs[]> | undefined;
  readonly configs?: pulumi.Input<readonly FileInputs[]> | undefined;
  readonly user?: pulumi.Input<string> | undefined;
  readonly readOnly?: pulumi.Input<boolean> | undefined;
  readonly init?: pulumi.Input<boolean> | undefined;
  readonly capAdd?: pulumi.Input<readonly string[]> | undefined;
  readonly capDrop?: pulumi.Input<readonly string[]> | undefined;
  readonly ulimits?: pulumi.Input<Readonly<Record<string, UlimitInputs>>> | undefined;
  readonly stopSignal?: pulumi.Input<string> | undefined;
  readonly updateConfig?: pulumi.Input<UpdateInputs> | undefined;
  readonly restartPolicy?: pulumi.Input<RestartInputs> | undefined;
  /** The login for the image's registry, in place of that of `docker login`. Changing it replaces the instances. */
  readonly logins?: pulumi.Input<Logins> | undefined;
  /** How long a start or update may make no progress before it fails. Default: 120. */
  readonly readyTimeoutSeconds?: pulumi.Input<number> | undefined;
}

export interface SwarmServiceInputs extends ServiceInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly swarmId?: string;
  readonly owner?: string;
  readonly logins?: Logins;
  readonly readyTimeoutSeconds?: number;
  readonly before?: readonly string[];
  readonly spreadOver?: readonly string[];
}

export interface SwarmServiceState extends SwarmServiceInputs {
  readonly serviceId: string;
  /** Identifies the resource that owns the service, so that a resource deletes no service that another has taken over. */
  readonly claim: string;
}

/** `changedKeys` is for our own previews; Pulumi ignores it. */
export interface ServiceDiff extends pulumi.dynamic.DiffResult {
  readonly changedKeys: readonly (InputKey | "host" | "swarmId" | "owner" | "before" | "spreadOver")[];
}

const CLAIM_LABEL = "switchyard.claim";

/**
 * Throws if the service has another owner. If this resource claimed the service, the owner in its state is accepted too: the
 * owner changes in place, for example from an earlier version that recorded the stack without the project.
 */
function refuseForeign(inputs: SwarmServiceInputs, { Spec }: ServiceDetails, olds?: SwarmServiceState): void {
  const label = Spec.Labels?.[OWNER_LABEL];
  const claimed = olds !== undefined && Spec.Labels?.[CLAIM_LABEL] === olds.claim;
  if (label === ownerOf(inputs) || (claimed && label === ownerOf(olds))) return;
  const { host, name } = inputs;
  throw new Error(
    `The Swarm on ${host} already has a service ${name} that belongs to ` +
      `${label === undefined ? "no stack of Switchyard" : `stack ${label}`}, not to ${ownerOf(inputs)}. ` +
      `Rename yours, or remove it: ${dockerCommand(inputs, `service rm ${name}`)}`,
  );
}

const settlingOf = ({ readyTimeoutSeconds, replicas }: SwarmServiceInputs) => ({
  timeoutSeconds: readyTimeoutSeconds ?? 120,
  least: typeof replicas === "object" ? Math.max(1, replicas.min) : undefined,
});

interface ImageDetails {
  readonly Config?: { readonly Healthcheck?: { readonly Test?: readonly string[] | null } | null } | null;
}

/**
 * How long instances must run before the service has started: as long as Docker watches each instance of an update, so that a
 * program that ends at once is noticed. 0 if a health check covers it, or if the program may end by itself.
 */
async function steadySecondsOf(docker: Docker, inputs: SwarmServiceInputs): Promise<number> {
  const { image, replicas, healthCheck, restartPolicy, updateConfig } = inputs;
  const mayEnd = (restartPolicy?.condition ?? "any") !== "any";
  if (replicas === 0 || healthCheck !== undefined || mayEnd) return 0;
  // Another node may have it, and this one not.
  const path = `/images/${encodeURIComponent(image)}/json`;
  const found = await unless([404], api<ImageDetails>(docker, "GET", path));
  const [kind = "NONE"] = found?.Config?.Healthcheck?.Test ?? [];
  return kind === "NONE" ? (updateConfig?.monitorSeconds ?? 5) : 0;
}

const sameLogins = (one: SwarmServiceInputs, other: SwarmServiceInputs): boolean =>
  canonical(one.logins ?? {}) === canonical(other.logins ?? {});

function marksOf(inputs: SwarmServiceInputs, claim: string): Record<string, string> {
  return { [OWNER_LABEL]: ownerOf(inputs), [CLAIM_LABEL]: claim };
}

/** What the service wants to have run before instances of this definition start. */
async function prepare(
  docker: Docker,
  inputs: SwarmServiceInputs,
  claim: string,
  template: TaskSpec,
): Promise<void> {
  const { before: command, name } = inputs;
  if (command === undefined) return;
  const { timeoutSeconds } = settlingOf(inputs);
  const login = await pullLogin(inputs.image, inputs.logins);
  await runBefore(docker, { name, command, template, marks: marksOf(inputs, claim), login, timeoutSeconds });
}

async function start(docker: Docker, inputs: SwarmServiceInputs, claim: string): Promise<string> {
  let id: string;
  const body = buildSpec(inputs, marksOf(inputs, claim));
  await prepare(docker, inputs, claim, body.TaskTemplate);
  try {
    const login = await pullLogin(inputs.image, inputs.logins);
    ({ ID: id } = await api<{ ID: string }>(docker, "POST", "/services/create", { body, login }));
  } catch (error) {
    const cure =
      (error as DockerError).statusCode === 503
        ? ` The engine at ${inputs.host} is not a Swarm manager: run "up" with a refresh to create the Swarm again`
        : "";
    throw new Error(`Docker rejected service ${inputs.name}: ${messageOf(error)}.${cure}`, { cause: error });
  }
  if (isJob(inputs)) return id;
  try {
    const steadySeconds = await steadySecondsOf(docker, inputs);
    await settle(docker, id, { ...settlingOf(inputs), rolling: false, before: [], steadySeconds });
  } catch (error) {
    // A service that never started must not block the next attempt.
    await remove(docker, id, inputs.stopGracePeriodSeconds);
    throw error;
  }
  return id;
}

/** Whether there is a node that was not there when the instances were last spread. */
const hasNewNode = (olds: SwarmServiceInputs, { spreadOver = [] }: SwarmServiceInputs): boolean =>
  olds.spreadOver !== undefined && spreadOver.some((node) => olds.spreadOver?.includes(node) === false);

async function change(
  docker: Docker,
  inputs: SwarmServiceInputs,
  claim: string,
  before: ServiceDetails,
  { isPrepared = false, newLogin = false, respreads = false } = {},
): Promise<string> {
  const current = await waitUntilReleased(docker, before);
  if (current === undefined) return start(docker, inputs, claim);
  const next = nextSpec(current.Spec, inputs, marksOf(inputs, claim));
  const isNew = next.TaskTemplate !== current.Spec.TaskTemplate;
  const spec = respreads && !isNew ? replaced(next) : next;
  const rolling = spec.TaskTemplate !== current.Spec.TaskTemplate;
  if (rolling && isJob(inputsOf(current.Spec))) await endOfRun(docker, current);
  if (isNew && !isPrepared) await prepare(docker, inputs, claim, spec.TaskTemplate);
  const older = await tasksOf(docker, current.ID);
  // A login that is another one replaces the instances, and those of some helpers always are.
  const replaces = rolling || newLogin;
  try {
    await api(docker, "POST", `/services/${current.ID}/update`, {
      query: { version: current.Version.Index },
      body: spec,
      ...(replaces && { login: await pullLogin(inputs.image, inputs.logins) }),
    });
  } catch (error) {
    if (!/out of sequence/.test(messageOf(error))) {
      throw new Error(`Docker rejected the update of service ${inputs.name}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    // Swarm changed the service in the meantime, as it does at the end of a rolling update.
    const again = await findService(docker, current.ID);
    if (again === undefined) return start(docker, inputs, claim);
    return change(docker, inputs, claim, again, { isPrepared: isNew || isPrepared, newLogin, respreads });
  }
  const graceSeconds = inputsOf(current.Spec).stopGracePeriodSeconds;
  if (!isJob(inputs))
    await settle(docker, current.ID, {
      ...settlingOf(inputs),
      graceSeconds,
      rolling: replaces,
      before: older,
    });
  const { Secrets = [], Configs = [] } = current.Spec.TaskTemplate.ContainerSpec;
  if (Secrets.length + Configs.length > 0) await removeOrphans(docker, ownerOf(inputs));
  return current.ID;
}

async function remove(docker: Docker, id: string, graceSeconds: number | undefined): Promise<void> {
  await unless([404, 503], api(docker, "DELETE", `/services/${id}`));
  await vanish(docker, id, (graceSeconds ?? 10) + 30);
}

/** The inputs in a state, which holds both inputs and outputs. */
function inputsFrom(props: SwarmServiceState): SwarmServiceInputs {
  const outputs = ["serviceId", "claim"];
  const inputs: object = Object.fromEntries(Object.entries(props).filter(([key]) => !outputs.includes(key)));
  return inputs as SwarmServiceInputs;
}

export const serviceProvider: pulumi.dynamic.ResourceProvider<SwarmServiceInputs, SwarmServiceState> = {
  check(_olds, news) {
    return Promise.resolve({ inputs: news, failures: problemsIn(news) });
  },
  diff(_id, olds, news): Promise<ServiceDiff> {
    const differ = (key: "host" | "swarmId") => (olds[key] ?? "") !== (news[key] ?? "");
    // Every manager of a Swarm knows the same services.
    const elsewhere = differ("swarmId") || ((news.swarmId ?? "") === "" && differ("host"));
    const replaces = (["host", "swarmId"] as const).filter((key) => elsewhere && differ(key));
    const keys = changedInputs(olds, news);
    const all: ServiceDiff["changedKeys"] = [
      ...(["host", "swarmId"] as const).filter(differ),
      ...(ownerOf(olds) === ownerOf(news) ? [] : (["owner"] as const)),
      ...(["before", "spreadOver"] as const).filter((key) => meaningOf(olds[key]) !== meaningOf(news[key])),
      ...keys,
    ];
    return Promise.resolve({
      changes: all.length > 0 || !sameSsh(olds, news) || !sameLogins(olds, news),
      replaces: [...replaces, ...(["name", "global"] as const).filter((key) => keys.includes(key))],
      // Docker does not change the mode of a service, and two cannot have the same name.
      ...(keys.includes("global") && !keys.includes("name") && { deleteBeforeReplace: true }),
      changedKeys: all,
    });
  },
  async create(inputs) {
    const docker = connect(inputs.host, inputs);
    const claim = randomBytes(8).toString("hex");
    const present = await findService(docker, inputs.name);
    if (present !== undefined) refuseForeign(inputs, present);
    const serviceId =
      present === undefined
        ? await start(docker, inputs, claim)
        : await change(docker, inputs, claim, present);
    return { id: inputs.name, outs: { ...inputs, serviceId, claim } };
  },
  async read(id, props): Promise<pulumi.dynamic.ReadResult> {
    if (props === undefined) throw new Error(`import of a SwarmService (${id}) is not supported`);
    const docker = connect(props.host, props);
    const service = await findService(docker, props.name);
    if (service === undefined) return { id: (await isManager(docker)) ? "" : id, props };
    const found: Record<string, unknown> = { ...inputsOf(service.Spec) };
    const inputs = inputsFrom(props);
    // Keep the user's form of equivalent values, so that a refresh does not report changes that are none.
    const drifted = driftedInputs(inputsOf(service.Spec), inputs);
    const fresh: SwarmServiceInputs = {
      ...inputs,
      ...Object.fromEntries(drifted.map((key) => [key, found[key]])),
    };
    return { id, inputs: fresh, props: { ...fresh, serviceId: service.ID, claim: props.claim } };
  },
  async update(_id, olds, news) {
    const docker = connect(news.host, news);
    const current = await findService(docker, news.name);
    if (current !== undefined) refuseForeign(news, current, olds);
    // What a run that was killed has left, although the key is gone again.
    if (current !== undefined && news.before === undefined)
      await forgetBefore(docker, news.name, marksOf(news, olds.claim));
    const serviceId =
      current === undefined
        ? await start(docker, news, olds.claim)
        : await change(docker, news, olds.claim, current, {
            newLogin: !sameLogins(olds, news),
            respreads: hasNewNode(olds, news),
          });
    return { outs: { ...news, serviceId, claim: olds.claim } };
  },
  async delete(_id, props) {
    const docker = connect(props.host, props);
    const service = await findService(docker, props.serviceId);
    if (service === undefined && !(await isManager(docker))) return;
    if (service !== undefined) {
      const { [OWNER_LABEL]: owner, [CLAIM_LABEL]: claim } = service.Spec.Labels ?? {};
      // After a failed update the label may include the project while the state still has only the stack.
      const sameOwner = owner === ownerOf(props) || owner?.endsWith(`/${ownerOf(props)}`);
      if (claim !== props.claim || !sameOwner) return;
    }
    await forgetBefore(docker, props.name, marksOf(props, props.claim));
    await remove(docker, props.serviceId, props.stopGracePeriodSeconds);
    if ((props.secrets ?? props.configs) !== undefined) await removeOrphans(docker, ownerOf(props));
  },
};

/**
 * A replicated Swarm service. Everything but its name changes in place. If only `replicas` changes, running instances stay.
 * Any other change replaces them one by one, start-first and health-gated, and is rolled back on failure.
 */
export class SwarmService extends DynamicResource {
  declare readonly name: pulumi.Output<string>;
  declare readonly image: pulumi.Output<string>;
  declare readonly replicas: pulumi.Output<number | ReplicaRangeInputs | undefined>;
  declare readonly serviceId: pulumi.Output<string>;

  constructor(name: string, args: SwarmServiceArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = { serviceId: undefined, claim: undefined };
    const owner = args.owner ?? stackOwner();
    super(
      { file: __filename, provider: "serviceProvider" },
      name,
      { ...args, owner, ...outputs },
      opts,
      "SwarmService",
    );
  }
}
