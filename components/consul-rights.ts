/** Who may do what in Consul, as the files from which its containers get their policies and tokens. Pure. */
import { createHash } from "node:crypto";
import type { AgentTls } from "./consul-certificates";

/** The tokens' secrets. */
export interface ConsulSecrets {
  /** Makes policies and tokens. */
  readonly management: string;
  /** That of the generation before; empty if there was none. */
  readonly previousManagement: string;
  /** For people, and for the health of the cluster. */
  readonly operator: string;
  readonly registrator: string;
  readonly loadBalancer: string;
  readonly autoscaler: string;
  /** By node. */
  readonly agents: Readonly<Record<string, string>>;
}

interface Right {
  readonly Resource: string;
  readonly Access: "read" | "write";
  readonly Segment?: string;
}

const right = (Resource: string, Access: "read" | "write", Segment?: string): Right => ({
  Resource,
  Access,
  ...(Segment !== undefined && { Segment }),
});

/** Any name, with which a right for all names is checked. */
const any = "switchyard-check";

interface Role {
  readonly rules: readonly string[];
  /** What its token must be able to do. */
  readonly needs: readonly Right[];
}

const roles = {
  operator: {
    rules: [
      'key_prefix "" { policy = "write" }',
      'service_prefix "" { policy = "write" }',
      'node_prefix "" { policy = "write" }',
      'agent_prefix "" { policy = "write" }',
      'session_prefix "" { policy = "write" }',
      'operator = "write"',
    ],
    needs: [
      right("key", "write", "service/haproxy/maxconn"),
      right("service", "write", any),
      right("node", "write", any),
      right("agent", "write", any),
      right("operator", "write"),
    ],
  },
  registrator: {
    // It registers what containers say, and no container is Consul.
    rules: [
      'service_prefix "" { policy = "write" }',
      'service "consul" { policy = "read" }',
      'node_prefix "" { policy = "read" }',
    ],
    needs: [right("service", "write", any), right("node", "read", any)],
  },
  "load-balancer": {
    rules: [
      'service_prefix "" { policy = "read" }',
      'node_prefix "" { policy = "read" }',
      'key_prefix "service/haproxy/" { policy = "read" }',
      'key "service/autoscaler/status" { policy = "read" }',
      'key_prefix "service/autoscaler/figures/" { policy = "write" }',
      'key_prefix "service/autoscaler/wanted/" { policy = "write" }',
    ],
    needs: [
      right("service", "read", any),
      right("node", "read", any),
      right("key", "read", "service/haproxy/maxconn"),
      right("key", "read", "service/autoscaler/status"),
      right("key", "write", `service/autoscaler/figures/${any}`),
      right("key", "write", `service/autoscaler/wanted/${any}`),
    ],
  },
  autoscaler: {
    // It writes its lock and the records of sleeping services, but no setting of the load balancers.
    rules: [
      'service_prefix "" { policy = "read" }',
      'node_prefix "" { policy = "read" }',
      'key_prefix "service/haproxy/" { policy = "read" }',
      'key "service/haproxy/autoscaler" { policy = "write" }',
      'key_prefix "service/haproxy/sleeping/" { policy = "write" }',
      'key_prefix "service/autoscaler/" { policy = "write" }',
      'session_prefix "" { policy = "write" }',
    ],
    needs: [
      right("service", "read", any),
      right("node", "read", any),
      right("key", "read", "service/haproxy/maxconn"),
      right("key", "write", "service/haproxy/autoscaler"),
      right("key", "write", `service/haproxy/sleeping/${any}`),
      right("key", "write", `service/autoscaler/figures/${any}`),
      right("session", "write", any),
    ],
  },
  // DNS has no token.
  anonymous: {
    rules: ['service_prefix "" { policy = "read" }', 'node_prefix "" { policy = "read" }'],
    needs: [right("service", "read", any), right("node", "read", any)],
  },
} as const satisfies Readonly<Record<string, Role>>;

/** What nobody can do without a token. */
const denied = [
  right("service", "write", any),
  right("node", "write", any),
  right("key", "read", "service/haproxy/maxconn"),
  right("key", "write", "service/haproxy/maxconn"),
  right("key", "write", "service/autoscaler/status"),
  right("session", "write", any),
  right("agent", "read", any),
  right("operator", "read"),
  right("acl", "read"),
];

const agentRules = (node: string): readonly string[] => [
  `node ${JSON.stringify(node)} { policy = "write" }`,
  'service_prefix "" { policy = "read" }',
];

const anonymousAccessor = "00000000-0000-0000-0000-000000000002";
const globalManagement = "00000000-0000-0000-0000-000000000001";

/** A token's public ID, derived from its secret, from which it tells nothing. */
export function accessorOf(secret: string): string {
  const digits = createHash("sha256").update(`accessor of ${secret}`).digest("hex");
  const groups = [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20)];
  return [...groups, digits.slice(20, 32)].join("-");
}

const policyName = (role: string): string => `switchyard-${role}`;
const json = (value: unknown): string => `${JSON.stringify(value)}\n`;

function tokenBody(role: string, secret: string, policy: object): string {
  return json({
    AccessorID: accessorOf(secret),
    SecretID: secret,
    Description: `Switchyard ${role}`,
    Policies: [policy],
  });
}

export interface ConsulFilesArgs {
  readonly node: string;
  readonly server: boolean;
  readonly gossipKey: string;
  readonly tls: AgentTls;
}

/** The files of `/secrets` in Consul's container on a node, by their paths there. */
export function consulFiles(
  secrets: ConsulSecrets,
  { node, server, gossipKey, tls }: ConsulFilesArgs,
): Record<string, string> {
  const { management, previousManagement, operator, registrator, loadBalancer, autoscaler, agents } = secrets;
  const everywhere = {
    "agent.json": json({
      encrypt: gossipKey,
      // Their names in Consul 1.8. Consul 1.21 has others, and takes these too.
      ca_file: "/secrets/tls/authorities.pem",
      cert_file: "/secrets/tls/certificate.pem",
      key_file: "/secrets/tls/key.pem",
      // Consul 1.21 has another name for it and takes this one too; 1.8 knows only this one.
      ...(server && { acl: { tokens: { master: management } } }),
    }),
    "tls/authorities.pem": tls.authorities,
    "tls/certificate.pem": tls.certificate,
    "tls/key.pem": tls.key,
    "agent-token.json": json({ Token: agents[node] ?? "" }),
    operator,
    registrator,
  };
  if (!server) return everywhere;

  const policies = [
    ...Object.entries(roles).map(([role, { rules }]) => [role, rules] as const),
    ...Object.keys(agents).map((name) => [`agent-${name}`, agentRules(name)] as const),
  ].map(([role, rules]) => [
    `policies/${policyName(role)}.json`,
    json({ Name: policyName(role), Description: "Made by Switchyard", Rules: rules.join("\n") }),
  ]);
  const tokens = [
    ["operator", operator] as const,
    ["registrator", registrator] as const,
    ["load-balancer", loadBalancer] as const,
    ["autoscaler", autoscaler] as const,
    ...Object.entries(agents).map(([name, secret]) => [`agent-${name}`, secret] as const),
  ].map(([role, secret]) => [
    `tokens/${accessorOf(secret)}.json`,
    tokenBody(role, secret, { Name: policyName(role) }),
  ]);
  const needs = Object.entries(roles).map(([role, { needs }]) => [`rights/${role}.json`, json(needs)]);
  return {
    ...everywhere,
    management,
    previous: previousManagement,
    "management.json": tokenBody("management", management, { ID: globalManagement }),
    "load-balancer": loadBalancer,
    autoscaler,
    "denied.json": json(denied),
    [`tokens/${anonymousAccessor}.json`]: json({
      AccessorID: anonymousAccessor,
      Description: "Anonymous Token",
      Policies: [{ Name: policyName("anonymous") }],
    }),
    ...(Object.fromEntries([...policies, ...tokens, ...needs]) as Record<string, string>),
  };
}

/** Changes with any token and any rule, and tells nothing about them. */
export function versionOf(secrets: ConsulSecrets): string {
  const tls = { authorities: "", certificate: "", key: "" };
  const files = consulFiles(secrets, { node: "", server: true, gossipKey: "", tls });
  return createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 16);
}
