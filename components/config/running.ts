/** The schema of how a service's instances run, are placed and replaced, after Compose's names. */
import { isIP } from "node:net";
import { z } from "zod";

import { isMapping } from "../../lib/values";
import { good, isShown, wrong, type Checked } from "../../routing/scaling/checked";
import { flag, list, mapping, oneOf, readBy, strings, text, whole } from "../schema";

const constraint = text(
  /^(node|engine)\.[A-Za-z0-9._/-]{1,200} ?(==|!=) ?[A-Za-z0-9._:/ -]{1,200}$/,
  'a constraint such as "node.labels.disk==ssd"',
);

const placement = mapping({
  constraints: list(constraint).default([]),
  spread: list(
    text(/^(node|engine)\.labels\.[A-Za-z0-9._/-]{1,200}$/, 'a label such as "node.labels.zone"'),
  ).optional(),
  max_replicas_per_node: whole(1, 1000).optional(),
});

const unitSeconds = { s: 1, m: 60, h: 3600 } as const;
const duration = text(/^[0-9]{1,5}[smh]$/, 'a time such as "10s" or "2m"').transform(
  (value) => Number(value.slice(0, -1)) * unitSeconds[value.slice(-1) as keyof typeof unitSeconds],
);

const update = mapping({
  parallelism: whole(0, 1000).optional(),
  delay: duration.optional(),
  monitor: duration.optional(),
  order: oneOf(["start-first", "stop-first"]).optional(),
  failure_action: oneOf(["rollback", "pause", "continue"]).optional(),
});

const restartPolicy = mapping({
  condition: oneOf(["any", "on-failure", "none"]).optional(),
  delay: duration.optional(),
  max_attempts: whole(0, 1000).optional(),
  window: duration.optional(),
});

/** Docker writes capabilities with their prefix. */
const capability = text(
  /^(CAP_)?[A-Z][A-Z_]{1,31}$/,
  'a capability such as "NET_BIND_SERVICE", or "ALL"',
).transform((name) => (name === "ALL" || name.startsWith("CAP_") ? name : `CAP_${name}`));

const most = Number.MAX_SAFE_INTEGER;
const ulimit = z.union([
  whole(-1, most).transform((limit) => ({ soft: limit, hard: limit })),
  mapping({ soft: whole(-1, most), hard: whole(-1, most) }),
]);

const hostName = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/;
/** It leads to the load balancer of the instance's own node. */
const reserved = "rest.service.consul";

/** Reads `extra_hosts`: addresses by name, or a list such as `["db.example.com:10.0.0.7"]`. */
export function readHosts(value: unknown): Checked<Readonly<Record<string, string>>> {
  const pairs = Array.isArray(value)
    ? value.map((each) => /^([^:=]+)[:=](.+)$/.exec(String(each))?.slice(1) ?? [String(each), ""])
    : isMapping(value)
      ? Object.entries(value).map(([name, address]) => [name, typeof address === "string" ? address : ""])
      : undefined;
  if (pairs === undefined) return wrong([], isShown(value), "it must be a mapping of names to addresses");
  for (const [name = "", address = ""] of pairs) {
    if (name === reserved)
      return wrong([], `has ${name}, which is the load balancer of the instance's own node`, "remove it");
    if (!hostName.test(name) || isIP(address) === 0)
      return wrong([], `is ${JSON.stringify(value)}`, 'write names and addresses, such as "db.lan:10.0.0.7"');
  }
  return good(Object.fromEntries(pairs.map(([name = "", address = ""]) => [name, address])));
}

/** The keys, as they are written in the stack file. */
export const runningKeys = {
  mode: oneOf(["replicated", "global"])
    .default("replicated")
    .describe("`global`: one instance on every node that fits `placement`"),
  placement: placement
    .optional()
    .describe(
      "on which nodes instances run: `constraints` as Docker's, such as `node.labels.disk==ssd`, `spread` over the values of labels such as `node.labels.zone`, `max_replicas_per_node`",
    ),
  update: update
    .optional()
    .describe(
      "how a change rolls: `parallelism` (1), `delay` (`0s`), `monitor` (`5s`), `order` (`start-first`, or `stop-first` with a [volume](#volumes) that is written to, or `max_replicas_per_node`), `failure_action` (`rollback`)",
    ),
  rebalance: flag()
    .default(false)
    .describe(
      "whether a rolling update spreads the instances again when a node joins; by default only instances that start later use it",
    ),
  restart_policy: restartPolicy
    .optional()
    .describe(
      "when Docker starts an instance again: `condition` (`any`), `delay` (`1s`), `max_attempts`, `window`",
    ),
  user: text(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$/,
    'a user such as "app" or "1000:1000"',
  )
    .optional()
    .describe("user, and group, that the program runs as; put numbers in quotes"),
  read_only: flag().default(false).describe("whether the container's own file system is read-only"),
  init: flag().default(false).describe("whether Docker runs an init process, which reaps zombies"),
  cap_add: list(capability).default([]).describe("Linux capabilities to add, such as `NET_ADMIN`"),
  cap_drop: list(capability).default([]).describe("Linux capabilities to drop, such as `ALL`"),
  ulimits: z
    .record(z.string().regex(/^[a-z]{2,12}$/, { error: "it must be a limit such as nofile" }), ulimit, {
      error: "it must be a mapping of limits to numbers",
    })
    .optional()
    .describe("limits by name, such as `{ nofile: 65536 }` or `{ nofile: { soft: 1024, hard: 65536 } }`"),
  stop_signal: text(/^SIG[A-Z0-9+]{1,10}$/, 'a signal such as "SIGINT"')
    .optional()
    .describe("signal that asks the program to stop; default: the image's, or SIGTERM"),
  extra_hosts: readBy(readHosts)
    .prefault({})
    .describe("entries for `/etc/hosts`: addresses by name, such as `{ db.lan: 10.0.0.7 }`"),
  logging: mapping({
    driver: text(/^[a-z0-9][a-z0-9_./:-]{0,127}$/, 'a log driver such as "json-file"'),
    options: strings(/^[a-z][a-z0-9_.-]{0,63}$/, "lower-case letters, digits and dashes").default({}),
  })
    .optional()
    .describe(
      "Docker's log `driver` and its `options`, such as `{ driver: json-file, options: { max-size: 10m } }`",
    ),
};
