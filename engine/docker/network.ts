import type Docker from "dockerode";
import { diffByRules } from "../diff";
import { UNKNOWN } from "../wire";
import { type Handler, refuseForeign } from "./handler";
import { flag, given, labelMap, maps, orGone, record, text, withName } from "./values";

const RULES = { defaults: { ipamDriver: "default", driver: "bridge" } };

async function named(docker: Docker, name: string): Promise<Docker.NetworkInspectInfo | undefined> {
  const similar = await docker.listNetworks({ filters: { name: [name] } });
  return similar.find((network) => network.Name === name);
}

export const network: Handler = {
  inputs: [
    "name", "labels", "driver", "options", "internal", "attachable", "ingress", "ipv6", "ipamDriver",
    "ipamOptions", "ipamConfigs",
  ], // prettier-ignore
  check: (subject, olds, news) => withName(subject.name, olds, news),
  diff: (olds, news, autoNamed) => diffByRules(olds, news, RULES, autoNamed),
  async plan(context, news) {
    const name = text(news.name);
    if (name === undefined || name === UNKNOWN) return;
    const found = await named(context.docker, name);
    if (found) refuseForeign(context, "network", name, { id: found.Id, labels: found.Labels });
  },
  async create({ docker, ownLabels }, news) {
    const name = text(news.name) ?? "";
    const leftover = await named(docker, name);
    if (leftover) await docker.getNetwork(leftover.Id).remove();
    const configs = maps(news.ipamConfigs).map((c) =>
      given({
        Subnet: text(c.subnet),
        IPRange: text(c.ipRange),
        Gateway: text(c.gateway),
        AuxiliaryAddresses: c.auxAddress === undefined ? undefined : record(c.auxAddress),
      }),
    );
    const made = await docker.createNetwork({
      Name: name,
      CheckDuplicate: true,
      Driver: text(news.driver) ?? "bridge",
      Internal: flag(news.internal) ?? false,
      Attachable: flag(news.attachable) ?? false,
      Ingress: flag(news.ingress) ?? false,
      EnableIPv6: flag(news.ipv6) ?? false,
      Options: record(news.options),
      Labels: { ...labelMap(news.labels), ...ownLabels },
      IPAM: given({
        Driver: text(news.ipamDriver) ?? "default",
        Config: configs.length > 0 ? configs : undefined,
        Options: news.ipamOptions === undefined ? undefined : record(news.ipamOptions),
      }),
    });
    const info = await docker.getNetwork(made.id).inspect();
    return {
      id: made.id,
      outputs: {
        ...news,
        driver: info.Driver,
        scope: info.Scope,
        internal: info.Internal,
        ipamConfigs: (info.IPAM?.Config ?? []).map((c) =>
          given({ subnet: c.Subnet ?? null, gateway: c.Gateway ?? null }),
        ),
      },
    };
  },
  async delete({ docker }, old) {
    await orGone(docker.getNetwork(old.id ?? "").remove());
  },
  async refresh({ docker }, old) {
    return (await orGone(docker.getNetwork(old.id ?? "").inspect())) && [];
  },
};
