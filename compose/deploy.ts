/** `deploy` of a service in a compose file. Pure. */
import { isMapping } from "../lib/values";
import { own, type Draft } from "./draft";
import { othersOf, textOf } from "./read";

export function addDeploy(draft: Draft, value: unknown, key: string): void {
  if (!isMapping(value)) {
    draft.drop(key, own);
    return;
  }
  for (const [part, inner] of Object.entries(value))
    if (part === "replicas") draft.keep("deploy.replicas", "replicas", Number(inner));
    else if (part === "resources" && isMapping(inner) && isMapping(inner["limits"])) {
      for (const other of othersOf(inner, ["limits"]))
        draft.drop(
          `deploy.resources.${other}`,
          other === "reservations" ? "limits are what counts here" : own,
        );
      for (const [limit, amount] of Object.entries(inner["limits"])) addLimit(draft, limit, textOf(amount));
    } else draft.drop(`deploy.${part}`, own);
}

function addLimit(draft: Draft, limit: string, amount: string): void {
  const key = `deploy.resources.limits.${limit}`;
  const size = /^(\d+[kmg])b?$/i.exec(amount)?.[1];
  if (limit === "cpus") draft.keep(key, "cpus", Number(amount));
  else if (limit === "memory" && size !== undefined) draft.keep(key, "memory", size.toLowerCase());
  else draft.drop(key, own);
}
