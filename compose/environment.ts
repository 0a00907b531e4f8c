/** `environment` and `env_file` of a service in a compose file. Pure. */
import { isMapping } from "../lib/values";
import type { Draft } from "./draft";
import { isName } from "./files";
import { list, notText, pairs, textIn, textOf } from "./read";
import { step } from "./shown";
import { notSet, noVariable, readVariables } from "./variables";

const secretName = "holds a secret under a name that no variable can have: rename it";

/** Adds the variables of `environment`, over those of `env_file`. */
export function addVariables(draft: Draft): void {
  const { given, service, job } = draft;
  const { hidden, env } = job;
  const ofFiles = variablesOfFiles(draft);
  const own = pairs(given["environment"], env, (name) =>
    draft.drop(`environment.${name}`, hidden.isIn(name) ? secretName : notSet),
  );
  const variables = Object.entries({ ...ofFiles, ...own });
  if (variables.length === 0) return;
  service["env"] = Object.fromEntries(variables.filter((each) => !hidden.isVariable(each)));
  if (given["environment"] !== undefined) draft.say("environment", "changed", "env");
  for (const [name, value] of variables.filter((each) => hidden.isVariable(each)))
    if (isName.test(name)) {
      job.secrets.set(`services[${draft.index}].env${step(name)}`, hidden.reveal(value));
      draft.say(`environment.${name}`, "kept", "env, encrypted");
    } else draft.drop(`environment.${name}`, secretName);
}

function variablesOfFiles(draft: Draft): Record<string, string> {
  const variables: Record<string, string> = {};
  const drop = (why: string) => draft.drop("env_file", why);
  for (const each of list(draft.given["env_file"])) {
    const { path, format } = isMapping(each) ? each : { path: each };
    const file = textOf(path);
    const text = textIn(file, draft.job);
    if (text === undefined) drop(`${file} does not exist: write its variables into env`);
    else if (text === notText) drop(`${file} is not text in UTF-8: write its variables into env`);
    else {
      Object.assign(
        variables,
        readVariables(text, draft.job, (line) => drop(`${file}: ${noVariable(line)}`)),
      );
      draft.say("env_file", "changed", `env: the variables of ${file} as they are now`);
      if (format !== undefined) drop(`format of ${file}: compare its quotes and dollars with env`);
    }
  }
  return variables;
}
