/** Helpers shared by several tests. */
import type { Option } from "./option";
import { parseOptions } from "./service-options";

/** The value of an option for an instance with this meta, or the reason why the instance is rejected. */
export function read(option: Option, meta: Readonly<Record<string, string>>, tag = "rest"): unknown {
  const parsed = parseOptions([tag], meta);
  if (parsed?.ok !== true) return parsed?.error;
  const values: Readonly<Record<string, unknown>> =
    option.perInstance === true ? parsed.value : parsed.value.service;
  return values[option.name];
}
