import fc from "fast-check";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { buildRouting, routeKey } from "../../../../routing/build";
import type { Option } from "../../../../routing/option";
import { options } from "../../../../routing/options/index";
import { defaultSettings, type Settings } from "../../../../routing/settings";
import type { Catalog, Instance, Routing } from "../../../../routing/types";
import { toCommands, toPayloads } from "../haproxy/commands";
import { loaded, plan } from "../reconcile/planner";
import { dryRun } from "../cli/dry-run";
import { render, toConfig, toMapFile } from "./render";
import { eachMap, mapNames, type Rendered, type RenderOptions } from "./types";
import { catalogs, hostsLookedUp, instance, renderOptions } from "../testing";

// Properties run hundreds of catalogs, which takes a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const golden = join(__dirname, "..", "..", "golden");

/** A golden case: what it shows, and a catalog in which only what matters is written down. */
interface Case {
  readonly rule: string;
  readonly kv?: Readonly<Record<string, string>>;
  readonly instances: readonly (Partial<Instance> & { readonly service: string })[];
}

const read = (name: string) => JSON.parse(readFileSync(join(golden, `${name}.json`), "utf8")) as Case;

const toCatalog = ({ kv = {}, instances }: Case): Catalog => ({
  kv,
  instances: instances.map((given, index) => instance(given.service, 30_001 + index, given)),
});

const section = (name: string, text: string): string[] => (text === "" ? [] : [`# ${name}\n${text}`]);

/** The words that every server has; the golden file `whole` shows them. */
function usualWords(): readonly string[] {
  const ordinary = render(buildRouting({ instances: [instance("a", 1)], kv: {} }), renderOptions);
  const [server] = ordinary.backends.flatMap(({ servers }) => servers);
  const [, ...words] = server?.definition.split(" ") ?? [];
  return [words.join(" "), `${ordinary.pace} `];
}

const ofServicesOnly = mapNames.filter((name) => name !== "flags.map");

/** What services add to the configuration; the rest is in `whole`. */
function ofServices(catalog: Catalog): string {
  const routing = buildRouting(catalog);
  const rendered = render(routing, { ...renderOptions, holding: true });
  const asleep = new Map([...rendered.maps["flags.map"]].filter(([key]) => key !== "ready"));
  const tcp = rendered.parts.filter(({ name }) => name.startsWith("TCP")).map(({ text }) => text);
  const settings = Object.entries(routing.settings)
    .filter(([name, value]) => value !== defaultSettings[name as keyof Settings])
    .map(([name, value]) => `${name} ${value}\n`);
  const [usual = "", pace = ""] = usualWords();
  const backends = toConfig({ ...rendered, parts: [], backends: rendered.backends.filter((b) => b.service) });
  const problems = routing.problems.map(({ level, message }) => `${level}: ${message}\n`);
  return [
    ...section("settings", settings.join("")),
    ...tcp,
    ...(backends === "" ? [] : [backends.replaceAll(usual, "…").replaceAll(pace, "")]),
    ...section("flags.map", toMapFile(asleep)),
    ...ofServicesOnly.flatMap((name) => section(name, toMapFile(rendered.maps[name]))),
    ...section("problems", problems.join("")),
  ].join("\n");
}

function compareGolden(name: string, text: string): void {
  const file = join(golden, `${name}.txt`);
  if (process.env["UPDATE_GOLDEN"] !== undefined) writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, "utf8"));
}

describe("golden files (UPDATE_GOLDEN=1 writes them)", () => {
  const names = readdirSync(golden).flatMap((file) => (file.endsWith(".json") ? [file.slice(0, -5)] : []));
  test.each(names.map((name) => ({ name, case: read(name) })))(
    "$name: $case.rule",
    ({ name, case: given }) => {
      compareGolden(name, ofServices(toCatalog(given)));
    },
  );
  test("whole", () => {
    compareGolden("whole", dryRun(toCatalog(read("versions-newest")), renderOptions, new Map()));
  });
  test.each(options.map(({ key }) => key))("%s has a case", (key) => {
    const { instances } = read(`option-${key.replaceAll("_", "-")}`);
    expect(instances.some(({ meta = {} }) => key in meta)).toBe(true);
  });
});

const frontend = (options: Partial<RenderOptions>): string =>
  render(buildRouting({ instances: [], kv: {} }), { ...renderOptions, ...options }).parts.find(
    ({ name }) => name === "the HTTP frontend",
  )?.text ?? "";

test("without a node's name, no request waits for a service that sleeps", () => {
  const kv = { "service/haproxy/sleeping/hello": '{"tags":["rest"],"meta":{}}' };
  const text = dryRun({ instances: [], kv }, renderOptions, new Map());
  for (const part of ["lua", "asleep", "held"]) expect(text).not.toContain(part);
  expect(text).toContain("*/hello/ -|6|/hello|svc:hello|hello");
});

test("a request waits after everything that redirects or refuses it, in each profile", () => {
  const { parts } = render(buildRouting({ instances: [], kv: {} }), { ...renderOptions, holding: true });
  const text = parts.map((part) => part.text).join("\n");
  const profiles = text.split(/^defaults (?=http:(?!common))/m).slice(1);
  expect(profiles).toHaveLength(40);
  for (const profile of profiles) {
    const [lines = ""] = profile.split("\n\n");
    expect(lines).toMatch(/lua\.hold if .*\n.* nbsrv gt 0 }\n?$/);
  }
});

test("only trusted peers may, and then have to, speak the PROXY protocol", () => {
  const expects = "  tcp-request connection expect-proxy layer4 if trusted\n";
  const trusted = ["10.0.0.0/8", "::1"];
  const text = frontend({ trusted, proxyProtocol: true });
  expect(text).toContain(`  acl trusted src 10.0.0.0/8\n  acl trusted src ::1\n${expects}`);
  expect(frontend({ trusted })).not.toContain("expect-proxy");
});

test("whether it is ready is answered before any redirect, and from a map that changes at run time", () => {
  const text = frontend({ https: { port: 443, redirect: true } });
  const ready = text.indexOf(`status 200 content-type application/json string '{"ready":true}'`);
  expect(ready).toBeGreaterThan(0);
  expect(ready).toBeLessThan(text.indexOf("redirect code 308"));
  const maps = (ready: boolean) =>
    render(buildRouting({ instances: [], kv: {} }), { ...renderOptions, ready }).maps["flags.map"];
  expect([maps(false).size, maps(true).size]).toEqual([0, 1]);
  expect(frontend({ ready: false })).toBe(frontend({ ready: true }));
});

test("the same catalog gives the same bytes in any order", () => {
  fc.assert(
    fc.property(catalogs, (catalog) => {
      const reversed = { ...catalog, instances: [...catalog.instances].reverse() };
      const text = (given: Catalog) => dryRun(given, renderOptions, new Map());
      fc.pre(new Set(catalog.instances.map(({ id }) => id)).size === catalog.instances.length);
      expect(text(reversed)).toBe(text(catalog));
    }),
  );
});

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** The texts that options render for their examples, as patterns that accept other numbers and cookies. */
function patternsOf(texts: (option: Option, value: unknown) => readonly string[]): string[] {
  const values = (options as readonly Option[]).flatMap((option) =>
    option.examples.flatMap((example) => {
      const parsed = option.parse(example);
      return parsed.ok ? texts(option, parsed.value) : [];
    }),
  );
  const patterns = values.map((text) =>
    escaped(text).replace(/\b(?:[0-9a-f]{12}|\d+)\b/g, (number) =>
      number.length === 12 ? "[0-9a-f]{12}" : "\\d+",
    ),
  );
  return [...new Set(patterns)];
}

const lines = patternsOf((option, value) =>
  (["http", "tcp"] as const).flatMap((kind) => option.backendLines?.(value, kind) ?? []),
);
/** What other options change in the words for TLS. */
const tlsWords =
  "ssl check-ssl alpn h2,http/1\\.1 check-alpn h2,http/1\\.1( sni str\\([a-z0-9.-]+\\) check-sni [a-z0-9.-]+)? verify (none|required ca-file [A-Za-z0-9_.-]+\\.pem verifyhost [a-z0-9.-]+)";

const words = patternsOf((option, value) => {
  const text = option.serverWords?.(value, { name: "10.0.0.1:80", service: { [option.name]: value } });
  return text === undefined ? [] : [text];
});

/** Every line that services may bring into the configuration. */
const serviceLine = new RegExp(
  [
    "^$",
    "^ {2}guid (fe:tcp:\\d+|svc:[A-Za-z0-9_.:-]+|spare:(health:)?\\d+|long:[0-9a-f]{64})$",
    "^frontend tcp:\\d+ from tcp$",
    "^ {2}log global$",
    "^ {2}bind :\\d+$",
    "^ {2}default_backend svc:[A-Za-z0-9_.:-]+$",
    "^backend (svc:[A-Za-z0-9_.:-]+|spare:(health:)?\\d+) from (tcp(:internal)?|http:(roundrobin|leastconn|random|source|uri)(:health)?(:internal)?(:sticky)?)$",
    ...lines.map((line) => `^ {2}${line}$`),
    `^ {2}server [A-Za-z0-9_.:-]+ [0-9a-f.:[\\]]+ check rise 1 fall 3 observe layer4 error-limit 3 on-error mark-down${[...words.filter((each) => !each.startsWith("ssl ")), tlsWords].map((each) => `( ${each})?`).join("")} guid (srv:[A-Za-z0-9_.:-]+|long:[0-9a-f]{64}) inter \\d+ms fastinter 500ms downinter \\d+ms weight \\d+$`,
  ].join("|"),
);

test("the options' lines and words are HAProxy's", () => {
  expect(lines.sort()).toEqual(
    expect.arrayContaining(["balance leastconn", "hash-type consistent", "timeout tunnel \\d+"]),
  );
  expect(words).toEqual(
    expect.arrayContaining(["maxconn \\d+", "proto h2 check-proto h2", "cookie [0-9a-f]{12}"]),
  );
});
const routeLine =
  /^[A-Za-z0-9_.~*/%-]+ (-|v[a-z0-9.*-]+)\|(?:0|[1-9]\d*)\|\/[A-Za-z0-9_.~/-]*\|(svc:[A-Za-z0-9_.:-]+|%[A-Za-z0-9_.~*/-]+|none)\|[A-Za-z0-9_./-]+(\|[A-Za-z0-9_.,=/-]+)?$/;
/** The map of an option that has no pattern of its own below. */
const optionLine = /^svc:[A-Za-z0-9_.:-]+ [A-Za-z0-9_.~/%=&?:@,+-]+$/;
const mapLines: Readonly<Record<string, RegExp>> = {
  "routes.map": routeLine,
  "splits.map": routeLine,
  "flags.map": /^ready 1$/,
  "hosts.map": /^svc:[A-Za-z0-9_.:-]+ [a-z0-9.-]+$/,
  "health.map": /^svc:[A-Za-z0-9_.:-]+ \/[A-Za-z0-9_.~/%=&?:@,+-]*$/,
  "timeouts.map": /^svc:[A-Za-z0-9_.:-]+ [1-9][0-9]*$/,
};
const commandLine =
  /^(add server|enable health|set server|set weight|add map|set map|del map) [A-Za-z0-9_.:/-]+( (?:[A-Za-z0-9_.:*/%|~[\]=&?@,+-]+|str\([a-z0-9.-]+\)))*$/;

const onWildcard = instance("wild", 1, { meta: { host: "*.example.com" } });

test("only where some route has a wildcard are there rules for wildcards", () => {
  const rules = (instances: readonly Instance[]) =>
    toConfig(render(buildRouting({ instances, kv: {} }), renderOptions)).match(/txn\.domain\) var/g)
      ?.length ?? 0;
  expect([rules([instance("a", 1, { meta: { host: "example.com" } })]), rules([onWildcard])]).toEqual([0, 6]);
});

describe("for any catalog", () => {
  const fixed = (rendered: Rendered) => rendered.parts.filter(({ name }) => !name.startsWith("TCP"));

  test("only intended lines, words and map entries are rendered", () => {
    fc.assert(
      fc.property(catalogs, (catalog) => {
        const routing = buildRouting(catalog);
        const rendered = render(routing, renderOptions);
        const wildcards = routing.routes.some(({ host = "" }) => host.startsWith("*"));
        const empty = render(
          buildRouting({ instances: wildcards ? [onWildcard] : [], kv: {} }),
          renderOptions,
        );
        const pure = (text: string) => text.replace(/(maxconn|timeout \w+|tune[.\w-]+|than|gt) \d+/g, "$1 N");
        expect(fixed(rendered).map(({ text }) => pure(text))).toEqual(
          fixed(empty).map(({ text }) => pure(text)),
        );
        const variable = { ...rendered, parts: rendered.parts.filter(({ name }) => name.startsWith("TCP")) };
        expect(
          toConfig(variable)
            .split("\n")
            .filter((line) => !serviceLine.test(line)),
        ).toEqual([]);
        const strange = mapNames.flatMap((name) =>
          toMapFile(rendered.maps[name])
            .split("\n")
            .filter((line) => line !== "" && !(mapLines[name] ?? optionLine).test(line)),
        );
        expect(strange).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test("only intended runtime commands are sent", () => {
    fc.assert(
      fc.property(catalogs, (catalog) => {
        const rendered = render(buildRouting(catalog), renderOptions);
        const empty = {
          ...rendered,
          backends: rendered.backends.map((backend) => ({ ...backend, servers: [] })),
          maps: eachMap(mapNames, () => new Map<string, never>()),
        };
        const commands = [
          plan(loaded(empty), rendered, empty),
          plan(loaded(rendered), empty, rendered),
        ].flatMap(({ operations }) =>
          operations.flatMap((operation) => toCommands(operation, renderOptions.dir)),
        );
        const each = commands.flatMap((command) => command.split(";"));
        expect(each.filter((command) => !commandLine.test(command))).toEqual([]);
        const payloads = toPayloads(commands);
        expect(payloads.join(";")).toBe(commands.join(";"));
        expect(payloads.filter((payload) => payload.length > 12 * 1024)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

/** Does what HAProxy's map_beg does. */
function mapBeg<Value>(map: ReadonlyMap<string, Value>, text: string): Value | undefined {
  const keys = [...map.keys()].filter((key) => text.startsWith(key));
  const longest = keys.sort((a, b) => b.length - a.length)[0];
  return longest === undefined ? undefined : map.get(longest);
}

/** The route that a person would expect: the most leading segments of the path; the host's own, then the longest wildcard's. */
function oracle(routing: Routing, host: string, path: string): string | undefined {
  const segments = path.split("/").filter((_, index) => index > 0);
  const best = (of: string | undefined) =>
    routing.routes
      .filter((route) => route.host === of)
      .map((route) => ({ route, wanted: route.path === "/" ? [] : route.path.slice(1).split("/") }))
      .filter(({ wanted }) => wanted.every((part, index) => segments[index] === part))
      .sort((a, b) => b.wanted.length - a.wanted.length)[0]?.route;
  const wildcards = [...new Set(routing.routes.flatMap((route) => route.host ?? []))]
    .filter((each) => each.startsWith("*.") && host.endsWith(each.slice(1)))
    .sort((a, b) => b.length - a.length);
  const found = [host, ...wildcards, undefined].map(best).find((route) => route !== undefined);
  return found === undefined ? undefined : routeKey(found);
}

test.each([
  [1, "inter 2000ms fastinter 500ms downinter 100ms"],
  [200, "inter 2000ms fastinter 500ms downinter 100ms"],
  [1_000, "inter 10000ms fastinter 500ms downinter 500ms"],
  [20_000, "inter 100000ms fastinter 500ms downinter 5000ms"],
])("%d instances: %s", (count, pace) => {
  const instances = Array.from({ length: count }, (_, index) => instance("a", index + 1));
  expect(render(buildRouting({ instances, kv: {} }), renderOptions).pace).toBe(pace);
});

test("the map finds the longest prefix that ends at a segment", () => {
  const segment = fc.constantFrom("a", "b", "hello", "v1", "v2", "v10", "v11", "api", "x", "y", "");
  const paths = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
  fc.assert(
    fc.property(
      catalogs,
      paths,
      fc.constantFrom("x.org", "api.example.com", "example.com", "a.b.example.com", "org", "other"),
      (catalog, path, host) => {
        const routing = buildRouting(catalog);
        const map = render(routing, renderOptions).maps["routes.map"];
        const found = hostsLookedUp(host)
          .map((each) => mapBeg(map, `${each}${path}/`))
          .find((entry) => entry !== undefined);
        const key = oracle(routing, host, path);
        expect(found).toBe(key === undefined ? undefined : map.get(key));
      },
    ),
    { numRuns: 1_000 },
  );
});
