import { diffByRules } from "../diff";
import { UNKNOWN } from "../wire";
import { type Handler, refuseForeign } from "./handler";
import { labelMap, orGone, record, text, withName } from "./values";

const RULES = { defaults: { driver: "local" } };

export const volume: Handler = {
  inputs: ["name", "labels", "driver", "driverOpts"],
  check: (subject, olds, news) => withName(subject.name, olds, news),
  diff: (olds, news, autoNamed) => diffByRules(olds, news, RULES, autoNamed),
  // Docker silently returns an existing volume, and `down` would then delete someone else's data.
  async plan(context, news) {
    const name = text(news.name);
    if (name === undefined || name === UNKNOWN) return;
    const found = await orGone(context.docker.getVolume(name).inspect());
    if (found) refuseForeign(context, "volume", name, { id: found.Name, labels: found.Labels });
  },
  async create({ docker, ownLabels }, news) {
    const name = text(news.name) ?? "";
    await docker.createVolume({
      Name: name,
      Driver: text(news.driver) ?? "local",
      DriverOpts: record(news.driverOpts),
      Labels: { ...labelMap(news.labels), ...ownLabels },
    });
    const made = await docker.getVolume(name).inspect();
    return { id: name, outputs: { ...news, driver: made.Driver, mountpoint: made.Mountpoint } };
  },
  async delete({ docker }, old) {
    await orGone(docker.getVolume(old.id ?? "").remove());
  },
  async refresh({ docker }, old) {
    return (await orGone(docker.getVolume(old.id ?? "").inspect())) && [];
  },
};
