/** `healthcheck` of a service in a compose file. Pure. */
import { isMapping } from "../lib/values";
import { own, type Draft } from "./draft";
import { list, othersOf, seconds, type Mapping } from "./read";

const times = { interval: "intervalSeconds", timeout: "timeoutSeconds", start_period: "startPeriodSeconds" };

export function addHealthCheck(draft: Draft, value: unknown, key: string): void {
  const check: Mapping = isMapping(value) ? value : {};
  const { test, retries } = check;
  const [kind, ...rest] = typeof test === "string" ? ["CMD-SHELL", test] : list(test).map(String);
  if (check["disable"] !== undefined || kind === "NONE" || kind === undefined) {
    draft.drop(key, "has no test");
    return;
  }
  const command = kind === "CMD" ? rest : ["sh", "-c", rest.join(" ")];
  draft.keep(key, "healthCheck", {
    command: draft.encrypted("healthcheck.test", "healthCheck.command", command),
    ...Object.fromEntries(
      Object.entries(times).flatMap(([each, to]) => {
        const time = check[each];
        return typeof time === "string" ? [[to, seconds(time)]] : [];
      }),
    ),
    ...(typeof retries === "string" && { retries: Number(retries) }),
  });
  for (const other of othersOf(check, [...Object.keys(times), "test", "retries"]))
    draft.drop(`healthcheck.${other}`, other === "start_interval" ? "checks begin at the interval" : own);
}
