/**
 * From routing to HAProxy's configuration and maps. Pure and deterministic: the same routing and options give the same
 * bytes. Every text of foreign origin in here has passed the grammar of routing/grammar.ts, which has no character that
 * means something to HAProxy's parser, its maps or its runtime commands.
 */
import { hostPort } from "../../../../lib/tcp";
import { isWildcard } from "../../../../routing/grammar";
import { given, valueOf } from "../../../../routing/service-options";
import type { Backend, Routing, Server, TcpPort } from "../../../../routing/types";
import type { Settings } from "../../../../routing/settings";
import { backendGuid, frontendGuid, serverGuid } from "./counters";
import { binds, lines, requestLog } from "./syntax";
import { flagsMap } from "./flags";
import { heldSection } from "./hold";
import { httpFrontend } from "./frontend";
import { authoritiesSection } from "./authorities";
import { serverAt } from "./backend-pool";
import { defaultsSections, globalSection, statsFrontend } from "./sections";
import { backendLines, defaultsOf, nowhere, profileOf, poolBackends } from "./backend-profiles";
import { routesMap, splitsMap, type At } from "./routes";
import {
  mappedOptions,
  textOf,
  type Maps,
  type MapValue,
  type OptionMap,
  type Part,
  type Rendered,
  type RenderedBackend,
  type RenderOptions,
  type Slots,
} from "./types";

/** A backend that is nothing but its profile. */
export const profileHead = (name: string, profile: string): string =>
  lines(`backend ${name} from ${profile}`, [`guid ${backendGuid(name)}`]);

const spares: readonly RenderedBackend[] = poolBackends.map(({ name, profile }) => ({
  name,
  service: undefined,
  options: undefined,
  head: profileHead(name, profile),
  profile,
  servers: [],
}));

let fixed: { readonly made: string; readonly parts: readonly Part[] } | undefined;

/** The same for nearly all changes, so it is written again only where it differs. */
function fixedParts(
  settings: Settings,
  { authorities, ...options }: RenderOptions,
  wildcards: boolean,
): readonly Part[] {
  const list = authorities === undefined ? undefined : authoritiesSection(authorities);
  const made = JSON.stringify([settings, options, wildcards, list]);
  if (fixed?.made === made) return fixed.parts;
  const parts = [
    { name: "global settings", text: globalSection(settings, options) },
    { name: "timeouts and defaults", text: defaultsSections(settings, options) },
    { name: "the HTTP frontend", text: httpFrontend(settings, options, wildcards) },
    ...(options.statsPort === undefined
      ? []
      : [{ name: "the statistics page", text: statsFrontend(options.statsPort, options) }]),
    ...(list === undefined ? [] : [{ name: "the list of authorities", text: list }]),
    ...(options.holding === true ? [{ name: "the table of held requests", text: heldSection() }] : []),
    { name: "the backend for nothing", text: lines(`backend ${nowhere} from http:common`, []) },
  ];
  fixed = { made, parts };
  return parts;
}

export function render(routing: Routing, options: RenderOptions, slots: Slots = new Map()): Rendered {
  const at: At = (backend) => slots.get(backend) ?? backend;
  const taken = new Set(slots.values());
  const routes = routesMap(routing, at);
  return {
    settings: routing.settings,
    pace: paceOf(routing.backends.reduce((sum, { servers }) => sum + servers.length, 0)),
    parts: [
      ...fixedParts(routing.settings, options, [...routes.keys()].some(isWildcard)),
      ...routing.tcp.map((tcp) => ({
        name: `TCP port ${tcp.port} of service ${tcp.service}`,
        text: tcpFrontend(tcp, options),
        tcp,
      })),
    ],
    backends: [
      ...routing.backends.map((backend) => rendered(backend, at(backend.name))),
      ...spares.filter(({ name }) => !taken.has(name)),
    ],
    maps: {
      "routes.map": routes,
      "splits.map": splitsMap(routes),
      "flags.map": flagsMap(
        options.ready !== false,
        options.holding === true ? asleepIn(routing) : undefined,
      ),
      ...optionMapsOf(routing.backends, at),
    },
  };
}

const asleepIn = ({ backends, sleeping }: Routing): ReadonlyMap<string, boolean> =>
  new Map(
    backends.flatMap(({ service, options }) =>
      sleeping.has(service) && options.kind === "http" ? [[service, options.redirectSlash === true]] : [],
    ),
  );

const tcpFrontend = ({ port, backend }: TcpPort, options: RenderOptions): string =>
  lines(`frontend tcp:${port} from tcp`, [
    `guid ${frontendGuid(`tcp:${port}`)}`,
    requestLog,
    ...binds(port, options),
    `default_backend ${backend}`,
  ]);

/** The whole configuration file. */
export function toConfig(rendered: Rendered): string {
  const backends = rendered.backends.map(
    ({ name: backend, head, servers }) =>
      head +
      servers
        .map(
          ({ name, definition, weight }) =>
            `  server ${name} ${definition} guid ${serverGuid(backend, name)} ${rendered.pace} weight ${weight}\n`,
        )
        .join(""),
  );
  return [...rendered.parts.map(({ text }) => text), ...backends].join("\n");
}

export const toMapFile = (map: ReadonlyMap<string, MapValue>): string =>
  [...map].map(([key, value]) => `${key} ${textOf(value)}\n`).join("");

/** A backend that is still the same object looks as it did: a change among thousands costs what it touches. */
const renderings = new WeakMap<Backend, RenderedBackend>();

function rendered(backend: Backend, name: string): RenderedBackend {
  const known = renderings.get(backend);
  if (known?.name === name) return known;
  const made = renderBackend(backend, name);
  renderings.set(backend, made);
  return made;
}

function renderBackend(backend: Backend, name: string): RenderedBackend {
  const { options } = backend;
  return {
    name,
    service: backend.service,
    options,
    head: lines(`backend ${name} from ${defaultsOf(options)}`, [
      `guid ${backendGuid(name)}`,
      ...backendLines(options),
    ]),
    profile: profileOf(options),
    servers: backend.servers.map((server) => {
      const { address, port, weight } = server;
      const at = serverAt(backend, name, server.name);
      return {
        name: at,
        origin: { backend: backend.name, server: server.name, service: backend.service },
        address,
        port,
        hostname: server.hostname,
        weight,
        definition: definition(backend, server),
      };
    }),
  };
}

/** One check every 10 ms, each on a connection of its own: all checks together cost two or three per cent of a processor. */
const msPerCheck = 10;
const shortestIntervalMs = 2_000;
const longestIntervalMs = 100_000;
/** A server that is down is checked this many times as often, so that it gets traffic soon after it listens again. */
const downFactor = 20;

/** The pace of health checks among so many instances. A failed request or check has the next one follow in 500 ms. */
function paceOf(instances: number): string {
  const intervalMs = Math.min(Math.max(instances * msPerCheck, shortestIntervalMs), longestIntervalMs);
  return `inter ${intervalMs}ms fastinter 500ms downinter ${Math.round(intervalMs / downFactor)}ms`;
}

/** Spelled out for each server, because one that is added at run time takes nothing from `default-server`. */
function definition(backend: Backend, server: Server): string {
  const context = { name: server.name, hostname: server.hostname, service: backend.options };
  return [
    hostPort(server.address, server.port),
    "check rise 1 fall 3",
    "observe layer4 error-limit 3 on-error mark-down",
    ...given(backend.options).flatMap(({ option, value }) => option.serverWords?.(value, context) ?? []),
  ].join(" ");
}

/** The options of HTTP services that are looked up by backend. */
function optionMapsOf(backends: readonly Backend[], at: At): Pick<Maps, OptionMap> {
  const maps = mappedOptions.map((option) => ({ option, map: new Map<string, string>() }));
  for (const { name, options } of backends) {
    if (options.kind !== "http") continue;
    for (const { option, map } of maps) {
      const value = valueOf(options, option) as string | number | undefined;
      if (value !== undefined) map.set(at(name), option.map.write?.(value) ?? String(value));
    }
  }
  return Object.fromEntries(maps.map(({ option, map }) => [option.map.file, map])) as Record<
    OptionMap,
    Map<string, string>
  >;
}
