/**
 * The profiles that HTTP backends may have: `defaults` sections, one for each combination of variants of the routing options.
 * A backend of the pool exists before its service and has no lines of its own, so its profile is everything it is; what
 * differs from service to service is looked up in maps by the backend's name. Pure.
 */
import type { Option, ProfileContext } from "../../../../routing/option";
import { options } from "../../../../routing/options/index";
import { given, parseOptions, valueOf } from "../../../../routing/service-options";
import type { ServiceOptions } from "../../../../routing/types";
import { holdLines } from "./hold";
import { outside } from "./inside";
import { lines } from "./syntax";
import type { RenderOptions } from "./types";

/** The backend of a route without a target. */
export const nowhere = "none";

type Dimension = Option & Required<Pick<Option, "profile">>;

const dimensions = (options as readonly Option[]).filter(
  (option): option is Dimension => option.profile !== undefined,
);

/** The variant of each dimension, in order. */
type Profile = readonly string[];

const nameOf = (profile: Profile): string =>
  ["http", ...profile.filter((variant) => variant !== "")].join(":");

const profiles = dimensions.reduce<readonly Profile[]>(
  (some, { profile }) =>
    some.flatMap((variants) => Object.keys(profile.variants).map((variant) => [...variants, variant])),
  [[]],
);

/** The `defaults` section of internal TCP services. */
export const internalTcp = "tcp:internal";

/** The name of the `defaults` section that the backend of a service starts from. */
export const defaultsOf = (service: ServiceOptions): string =>
  service.kind === "tcp"
    ? service.internal === true
      ? internalTcp
      : "tcp"
    : nameOf(dimensions.map((option) => option.profile.variantOf?.(valueOf(service, option)) ?? ""));

/** The lines that the backend of a service has besides. */
export const backendLines = (service: ServiceOptions): string[] =>
  given(service).flatMap(({ option, value }) => option.backendLines?.(value, service.kind) ?? []);

/** The profile of a service whose backend is nothing but its profile, so that one of the pool can be it. */
export const profileOf = (service: ServiceOptions): string | undefined =>
  service.kind === "http" && backendLines(service).length === 0 ? defaultsOf(service) : undefined;

/** A `defaults` section for each profile, on top of `http:common`. */
export function profileSections({
  dir,
  trusted = [],
  proxyProtocol = false,
  holding = false,
}: Pick<RenderOptions, "dir" | "trusted" | "proxyProtocol" | "holding">): string {
  // A trusted peer may have stripped a prefix as well.
  const outer = trusted.length === 0 ? "" : "%[var(txn.outer)]";
  const prefix = `${outer}%[var(txn.route),field(3,|)]`;
  const context: ProfileContext = {
    prefix,
    outside: outside({ dir, trusted, proxyProtocol }),
    lookUp: (map, method, otherwise) =>
      `be_name,${method}(${dir}/${map}${otherwise === undefined ? "" : `,${otherwise}`})`,
  };
  return profiles
    .map((profile) =>
      lines(`defaults ${nameOf(profile)} from http:common`, [
        ...dimensions.flatMap(
          (option, index) => option.profile.variants[profile[index] ?? ""]?.(context) ?? [],
        ),
        ...(outer === "" ? [] : ["http-request set-var(txn.outer) req.hdr(x-forwarded-prefix)"]),
        "http-request set-var(txn.stripped) var(txn.route),field(2,|)",
        `http-request set-header X-Forwarded-Prefix ${prefix} if { var(txn.stripped) -m int gt 0 }`,
        // With parameters inside the prefix, it is longer than its route. Only those of the last segment are kept then.
        "http-request set-path %[path,regsub(;[^/]*/,/,g)] if { path -m sub ; } { path,bytes(0,txn.stripped) -m sub ; }",
        // Parameters of the prefix's last segment get a slash before them. Then the prefix and a slash are to be removed.
        "http-request set-path %[path,bytes(0,txn.stripped)]/%[path,bytes(txn.stripped)] if { path -m sub ; } { path,bytes(txn.stripped) -m beg ; }",
        "http-request set-path /%[path,bytes(txn.stripped),bytes(1)]",
        ...(holding ? holdLines(dir) : []),
      ]),
    )
    .join("\n");
}

export interface PoolBackend {
  readonly name: string;
  readonly profile: string;
}

/** Backends of the profile that a service with these options has. */
function pool(count: number, name: string, meta: Readonly<Record<string, string>>): PoolBackend[] {
  const parsed = parseOptions(["rest"], meta);
  const profile = parsed?.ok === true ? profileOf(parsed.value.service) : undefined;
  if (profile === undefined) throw new Error(`the backends ${name} of the pool have options of their own`);
  return Array.from({ length: count }, (_, index) => ({ name: `${name}:${index}`, profile }));
}

/**
 * HAProxy takes no new backend while it runs, so new services take over these. They are enough for a burst of services with
 * the usual profiles; each costs a few kB.
 */
export const poolBackends: readonly PoolBackend[] = [
  ...pool(32, "spare", {}),
  ...pool(16, "spare:health", { health_path: "/" }),
];
