import { diffByRules } from "../diff";
import { messageOf, UserError } from "../../lib/errors";
import { credentialsFor, registryOf } from "../../lib/credentials";
import type { Handler } from "./handler";
import { flag, given, orGone, statusOf, text } from "./values";

const RULES = { inPlace: ["keepLocally", "forceRemove"], defaults: { platform: "" } };

export const remoteImage: Handler = {
  inputs: ["name", "keepLocally", "forceRemove", "pullTriggers", "platform"],
  diff: (olds, news) => diffByRules(olds, news, RULES, true),
  async create({ docker, host }, news) {
    const name = text(news.name) ?? "";
    if (!(await orGone(docker.getImage(name).inspect()))) {
      try {
        const tagged = /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
        const authconfig = await credentialsFor(registryOf(name));
        const stream = await docker.pull(tagged, given({ platform: text(news.platform), authconfig }));
        await new Promise<void>((resolve, reject) => {
          docker.modem.followProgress(stream, (error: Error | null) => {
            if (error) reject(error);
            else resolve();
          });
        });
      } catch (error) {
        if (error instanceof UserError) throw error;
        throw new UserError(
          `The image ${name} cannot be pulled to ${host} (${messageOf(error)}): check its name and the connection to its registry, or load it by hand.`,
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
      say(`The image ${name} stays, because something else uses it.`);
    }
  },
  async refresh({ docker }, old) {
    return (await orGone(docker.getImage(text(old.inputs.name) ?? "").inspect())) && [];
  },
};
