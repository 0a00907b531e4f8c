import { diffByRules } from "../diff";
import { messageOf, statusOf, UserError } from "../errors";
import type { Handler } from "./handler";
import { flag, given, orGone, text } from "./values";

const RULES = { inPlace: ["keepLocally", "forceRemove"], defaults: { platform: "" } };

export const remoteImage: Handler = {
  inputs: ["name", "keepLocally", "forceRemove", "pullTriggers", "platform"],
  diff: (olds, news) => diffByRules(olds, news, RULES, true),
  async create({ docker, host }, news) {
    const name = text(news.name) ?? "";
    if (!(await orGone(docker.getImage(name).inspect()))) {
      try {
        const tagged = /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
        const stream = await docker.pull(tagged, given({ platform: text(news.platform) }));
        await new Promise<void>((resolve, reject) => {
          docker.modem.followProgress(stream, (error: Error | null) => {
            if (error) reject(error);
            else resolve();
          });
        });
      } catch (error) {
        throw new UserError(
          `The image ${name} cannot be pulled to ${host} (${messageOf(error).trim()}): check its name and the way to its registry, or load it by hand.`,
        );
      }
    }
    const info = await docker.getImage(name).inspect();
    return {
      id: `${info.Id}${name}`,
      outputs: { ...news, imageId: info.Id, repoDigest: info.RepoDigests[0] ?? "" },
    };
  },
  update: (_context, old, news) => Promise.resolve({ ...old.outputs, ...news }),
  async delete({ docker, say }, old) {
    if (flag(old.inputs.keepLocally)) return;
    const name = text(old.inputs.name) ?? "";
    try {
      await orGone(docker.getImage(name).remove({ force: flag(old.inputs.forceRemove) ?? false }));
    } catch (error) {
      if (statusOf(error) !== 409) throw error;
      say(`The image ${name} stays, something else uses it.`);
    }
  },
  async refresh({ docker }, old) {
    return (await orGone(docker.getImage(text(old.inputs.name) ?? "").inspect())) && [];
  },
};
