/** Readers that several tests share. */
import type { Option } from "./option";
import { parseOptions } from "./service-options";

/** The value that an option has for an instance with this meta, or the sentence that refuses the instance. */
export function read(option: Option, meta: Readonly<Record<string, string>>, tag = "rest"): unknown {
  const parsed = parseOptions([tag], meta);
  if (parsed?.ok !== true) return parsed?.error;
  const values: Readonly<Record<string, unknown>> =
    option.perInstance === true ? parsed.value : parsed.value.service;
  return values[option.name];
}
