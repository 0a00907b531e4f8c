import type Docker from "dockerode";
import { diffByRules, type Rules } from "../diff";
import { messageOf, UserError } from "../../lib/errors";
import { UNKNOWN, type WireMap } from "../wire";
import { attachments, CONTAINER_INPUTS, createOptions, updatable, uploads } from "./container-options";
import { type Context, type Handler, refuseForeign } from "./handler";
import { archiveOf } from "../../lib/archive";
import { flag, maps, number, orGone, statusOf, text, withName } from "./values";
import { escapeLines } from "../../lib/text";

/** Like in the real provider, any other change replaces the container. */
const RULES: Rules = {
  inPlace: [
    "restart", "maxRetryCount", "cpuShares", "cpuSet", "memory", "memoryReservation", "memorySwap", "start", "wait",
    "waitTimeout", "mustRun", "removeVolumes", "destroyGraceSeconds",
  ], // prettier-ignore
  lists: ["command", "entrypoints"],
  defaults: {
    networkMode: "bridge", restart: "no", start: true, mustRun: true, removeVolumes: true, wait: false, waitTimeout: 60,
    readOnly: false, tty: false, stdinOpen: false, privileged: false, publishAllPorts: false, memoryReservation: 0,
  }, // prettier-ignore
  deleteFirst: true,
};
const LIVE = ["restart", "maxRetryCount", "cpuShares", "cpuSet", "memory", "memoryReservation", "memorySwap"];
const POLL_MS = 250;

async function explainStart(error: unknown, { docker, host }: Context, news: WireMap): Promise<Error> {
  const message = messageOf(error);
  const port =
    /(?:Bind for \S*?|listen (?:tcp|udp)\S* \S*?|bind \S*?):(\d+)\b.*(?:already allocated|already in use)/.exec(
      message,
    )?.[1];
  if (port === undefined) return new Error(message.replace(/^\(HTTP code \d+\) [^-]*- /, "").trim());
  const all = await docker.listContainers().catch(() => []);
  const holder = all.find((c) => c.Ports.some((p) => p.PublicPort === Number(port)));
  const other = holder?.Names[0]?.slice(1) ?? holder?.Id;
  const by = other
    ? `by container ${other} (remove it with: docker rm -f ${other})`
    : `by a process on ${host} (find it with: ss -ltnp 'sport = :${port}')`;
  return new UserError(
    `Port ${port}, which container "${text(news.name) ?? ""}" publishes, is taken ${by}: free it or choose another port.`,
  );
}

interface Inspected {
  readonly State: Pick<Docker.ContainerInspectInfo["State"], "Running" | "Restarting" | "ExitCode"> & {
    readonly Health?:
      { readonly Status: string; readonly Log: readonly { readonly Output: string }[] } | undefined;
  };
}

/**
 * Waits until the health check succeeds.
 *
 * @throws UserError with its last output
 */
export async function waitHealthy(inspect: () => Promise<Inspected>, news: WireMap): Promise<void> {
  const seconds = number(news.waitTimeout) ?? 60;
  const name = text(news.name) ?? "";
  const deadlineMs = Date.now() + seconds * 1000;
  for (;;) {
    const { State } = await inspect();
    if (!State.Health) {
      throw new UserError(
        `\`wait\` on container "${name}" needs a health check: add \`healthcheck\` or remove \`wait\`.`,
      );
    }
    if (State.Health.Status === "healthy") return;
    const last = escapeLines(State.Health.Log.at(-1)?.Output ?? "").trim();
    const because = last ? ` Output of its last health check: ${last}` : ` See: docker logs ${name}`;
    if (!State.Running && !State.Restarting) {
      throw new UserError(
        `Container "${name}" stopped (exit code ${String(State.ExitCode)}) before it was healthy.${because}`,
      );
    }
    if (Date.now() > deadlineMs) {
      throw new UserError(`Container "${name}" was not healthy within ${String(seconds)} s.${because}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function startAndWait(container: Docker.Container, context: Context, news: WireMap): Promise<void> {
  try {
    await container.start();
  } catch (error) {
    if (statusOf(error) !== 304) throw await explainStart(error, context, news);
  }
  if (flag(news.wait)) await waitHealthy(() => container.inspect(), news);
}

async function outputsOf(container: Docker.Container, news: WireMap): Promise<WireMap> {
  const info = await container.inspect();
  const networks = Object.entries(info.NetworkSettings.Networks);
  return {
    ...news,
    name: info.Name.slice(1),
    hostname: info.Config.Hostname,
    exitCode: info.State.ExitCode,
    networkDatas: networks.map(([networkName, n]) => ({
      networkName,
      ipAddress: n.IPAddress,
      ipPrefixLength: n.IPPrefixLen,
      gateway: n.Gateway,
      macAddress: n.MacAddress,
      ipv6Gateway: n.IPv6Gateway,
      globalIpv6Address: n.GlobalIPv6Address,
      globalIpv6PrefixLength: n.GlobalIPv6PrefixLen,
    })),
    // Like the real provider, report the ephemeral port that Docker chose.
    ...(news.ports === undefined ? {} : { ports: withExternal(news, info.NetworkSettings.Ports) }),
  };
}

function withExternal(
  news: WireMap,
  published: Record<string, { HostPort: string }[] | null> | undefined,
): WireMap[] {
  return maps(news.ports).map((port) => {
    const key = `${String(number(port.internal) ?? 0)}/${text(port.protocol) ?? "tcp"}`;
    const external = Number(text(port.external) ?? published?.[key]?.[0]?.HostPort ?? 0);
    return { ip: "0.0.0.0", protocol: "tcp", ...port, external };
  });
}

async function remove(container: Docker.Container, old: WireMap): Promise<void> {
  const grace = number(old.destroyGraceSeconds) ?? 0;
  if (grace > 0) {
    try {
      await container.stop({ t: grace });
    } catch (error) {
      if (statusOf(error) !== 304 && statusOf(error) !== 404) throw error;
    }
  }
  try {
    await container.remove({ force: true, v: flag(old.removeVolumes) ?? true });
  } catch (error) {
    if (statusOf(error) === 409) await container.wait({ condition: "removed" }).catch(() => undefined);
    else if (statusOf(error) !== 404) throw error;
  }
}

export const container: Handler = {
  inputs: CONTAINER_INPUTS,
  check: (subject, olds, news) => withName(subject.name, olds, news),
  diff: (olds, news, autoNamed) => diffByRules(olds, news, RULES, autoNamed),

  async plan(context, news) {
    const name = text(news.name);
    if (name === undefined || name === UNKNOWN) return;
    const found = await orGone(context.docker.getContainer(name).inspect());
    if (found) refuseForeign(context, "container", name, { id: found.Id, labels: found.Config.Labels });
  },

  async create(context, news) {
    const { docker } = context;
    const name = text(news.name) ?? "";
    // `plan` has checked that the container is ours.
    const leftover = await orGone(docker.getContainer(name).inspect());
    if (leftover) await remove(docker.getContainer(leftover.Id), {});

    const made = await docker
      .createContainer(createOptions(news, context.ownLabels))
      .catch((error: unknown) => {
        if (statusOf(error) === 404 && /no such image/i.test(messageOf(error))) {
          throw new UserError(
            `Container "${name}": there is no image ${text(news.image) ?? ""} on ${context.host}. Build or pull it first.`,
          );
        }
        throw error;
      });
    try {
      const networks = attachments(news);
      if (networks.length > 0 && (text(news.networkMode) ?? "bridge") === "bridge") {
        await docker.getNetwork("bridge").disconnect({ Container: made.id, Force: false });
      }
      for (const { network, endpoint } of networks) {
        await docker.getNetwork(network).connect({ Container: made.id, EndpointConfig: endpoint });
      }
      const files = uploads(news);
      if (files.length > 0) await made.putArchive(archiveOf(files), { path: "/" });
      if (flag(news.start) ?? true) await startAndWait(made, context, news);
      return { id: made.id, outputs: await outputsOf(made, news) };
    } catch (error) {
      await remove(made, {});
      throw error;
    }
  },

  async update(context, old, news) {
    const made = context.docker.getContainer(old.id ?? "");
    const { changed } = diffByRules(old.inputs, news, RULES, false);
    if (changed.some((key) => LIVE.includes(key))) await made.update(updatable(news));
    if (old.drift?.includes("mustRun")) await startAndWait(made, context, news);
    return outputsOf(made, news);
  },

  async delete({ docker }, old) {
    await remove(docker.getContainer(old.id ?? ""), old.inputs);
  },

  async refresh({ docker }, old) {
    const info = await orGone(docker.getContainer(old.id ?? "").inspect());
    if (!info) return undefined;
    const shouldRun = (flag(old.inputs.start) ?? true) && (flag(old.inputs.mustRun) ?? true);
    return shouldRun && !info.State.Running && !info.State.Restarting ? ["mustRun"] : [];
  },
};
