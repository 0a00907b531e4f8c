/** How to reach Consul, from the same variables that Consul's own tools read. */
import { ok, parseBoolean, refuse, show, type Parsed } from "../../../../routing/grammar";

export interface ConsulAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

export interface ConsulOptions {
  /** Tried in this order; the first one that answers is used until it fails. */
  readonly addresses: readonly ConsulAddress[];
  readonly token?: string;
  /** A file with the token; takes precedence over `token`. */
  readonly tokenFile?: string;
  readonly tls: {
    /** Paths of PEM files. */
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
    readonly verify: boolean;
  };
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `addresses` is the value of --consul, which takes precedence over CONSUL_HTTP_ADDR. */
export function readConsulOptions(addresses: string | undefined, env: Environment): Parsed<ConsulOptions> {
  const variable = (name: string) => (env[name] === "" ? undefined : env[name]);
  const flag = (name: string, fallback: boolean): Parsed<boolean> => {
    const value = variable(name);
    const parsed = value === undefined ? ok(fallback) : parseBoolean(value);
    return parsed.ok ? parsed : refuse(`${name}=${show(value ?? "")} ${parsed.error}.`);
  };
  const tls = flag("CONSUL_HTTP_SSL", false);
  const verify = flag("CONSUL_HTTP_SSL_VERIFY", true);
  if (!tls.ok) return tls;
  if (!verify.ok) return verify;
  const source = addresses === undefined ? "CONSUL_HTTP_ADDR" : "--consul";
  const given = addresses ?? variable("CONSUL_HTTP_ADDR") ?? "127.0.0.1:8500";
  const found: ConsulAddress[] = [];
  for (const each of given.split(",")) {
    const address = parseConsulAddress(each, tls.value);
    if (!address.ok) return refuse(`${source}=${show(given)} ${address.error}.`);
    found.push(address.value);
  }
  const cert = variable("CONSUL_CLIENT_CERT");
  const key = variable("CONSUL_CLIENT_KEY");
  if ((cert === undefined) !== (key === undefined))
    return refuse("Set both CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY, or neither.");
  return ok({
    addresses: found,
    ...optional("token", variable("CONSUL_HTTP_TOKEN")),
    ...optional("tokenFile", variable("CONSUL_HTTP_TOKEN_FILE")),
    tls: {
      verify: verify.value,
      ...optional("ca", variable("CONSUL_CACERT")),
      ...optional("cert", cert),
      ...optional("key", key),
      ...optional("serverName", variable("CONSUL_TLS_SERVER_NAME")),
    },
  });
}

const optional = <K extends string>(name: K, value: string | undefined): Partial<Record<K, string>> =>
  value === undefined ? {} : ({ [name]: value } as Record<K, string>);

function parseConsulAddress(value: string, tls: boolean): Parsed<ConsulAddress> {
  const match = /^(?:(https?):\/\/)?(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})\/?$/.exec(value);
  const host = match?.[2] ?? match?.[3];
  const port = Number(match?.[4]);
  return host !== undefined && port >= 1 && port <= 65_535
    ? ok({ host, port, tls: match?.[1] === undefined ? tls : match[1] === "https" })
    : refuse(
        "is not HOST:PORT, such as 127.0.0.1:8500 or https://consul.example.com:8501, or a comma-separated list of these",
      );
}

/** The addresses for use in messages. */
export const showAddresses = ({ addresses }: ConsulOptions): string =>
  addresses.map(({ host, port, tls }) => `${tls ? "https://" : ""}${host}:${port}`).join(", ");
