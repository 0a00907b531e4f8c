/** `build` and `image` of a service in a compose file. Pure but for the paths that it makes relative. */
import { own, type Draft } from "./draft";
import { othersOf, pairs, textOf, type Mapping } from "./read";
import { shown } from "./shown";
import { notSet } from "./variables";
import { moved } from "./volumes";

const known = ["context", "dockerfile", "args", "target"];

export function addBuild(draft: Draft, value: unknown, key: string): void {
  const { env, hidden, folder } = draft.job;
  const build: Mapping = typeof value === "string" ? { context: value } : (value as Mapping);
  const args = Object.entries(pairs(build["args"], env, (name) => draft.drop(`build.args.${name}`, notSet)));
  draft.service["build"] = {
    ...Object.fromEntries(Object.entries(build).filter(([each]) => known.includes(each))),
    context: moved(textOf(build["context"]) || ".", folder),
    ...(build["args"] !== undefined && {
      args: Object.fromEntries(args.filter((each) => !hidden.isVariable(each))),
    }),
  };
  for (const [name] of args.filter((each) => hidden.isVariable(each)))
    draft.drop(`build.args.${name}`, `${shown}, as the image does: name a secret in build.secrets; ${own}`);
  draft.say(key, "kept", "build");
  for (const other of othersOf(build, known))
    draft.drop(
      `build.${other}`,
      other === "secrets" ? `list their names in build.secrets; ${own}` : "BuildKit builds without it",
    );
}

export function addImage(draft: Draft, value: unknown, key: string): void {
  const image = textOf(value);
  if (draft.given["build"] !== undefined) {
    draft.drop(key, "the image of a build has a name of its own");
    return;
  }
  draft.keep(key, key, image);
  if (!/[:@][^/]*$/.test(image) || image.endsWith(":latest"))
    draft.say(
      key,
      "changed",
      "needs a version: one without, or latest, is rejected, since it can change at any time",
    );
}
