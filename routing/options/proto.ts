import { oneOf } from "../grammar";
import { option, valueIn, type OptionValues } from "../option";
import { exactHost, host } from "./host";
import { tlsCa } from "./tls-ca";
import { tlsServerName } from "./tls-server-name";
import { tlsVerify } from "./tls-verify";

const protocols = ["h2c", "h1", "https"] as const;

/** What the load balancer speaks over TLS, the better first. */
export const overTls = ["h2", "http/1.1"] as const;

/** The authorities that browsers trust. Its file name is none that a user can have. */
export const publicAuthorities = ".public.pem";

/** How the load balancer speaks TLS with an instance. */
export interface Tls {
  readonly verify: boolean;
  /** The file of the authorities. */
  readonly ca: string;
  /** For SNI, and in the certificate. */
  readonly name: string | undefined;
}

/** Undefined for a service without TLS. `hostname` is the name in DNS that the instance is registered with, if any. */
export function tlsOf(service: OptionValues, hostname?: string): Tls | undefined {
  if (valueIn(service, proto) !== "https") return undefined;
  return {
    verify: valueIn(service, tlsVerify) ?? true,
    ca: valueIn(service, tlsCa) ?? publicAuthorities,
    name: valueIn(service, tlsServerName) ?? hostname ?? exactHost(valueIn(service, host)),
  };
}

/** Why the certificates of its instances cannot be verified, as the rest of a sentence that starts with the service. */
export function whyUnverifiable(service: OptionValues, hostname?: string): string | undefined {
  const tls = tlsOf(service, hostname);
  return tls?.verify === true && tls.name === undefined
    ? `has SERVICE_PROTO=https and no name that its certificate could be checked for: set SERVICE_TLS_SERVER_NAME to a name in the certificate, or SERVICE_TLS_VERIFY=false to accept any certificate`
    : undefined;
}

/** The names of the checks' options have to be said too: a server that is added at run time takes them from nowhere. */
function tlsWords({ verify, ca, name }: Tls): string {
  const alpn = overTls.join(",");
  return [
    `ssl check-ssl alpn ${alpn} check-alpn ${alpn}`,
    ...(name === undefined ? [] : [`sni str(${name}) check-sni ${name}`]),
    // No certificate is for "-".
    verify ? `verify required ca-file ${ca} verifyhost ${name ?? "-"}` : "verify none",
  ].join(" ");
}

const tlsOptions = [tlsVerify, tlsServerName, tlsCa];

export const proto = option({
  key: "proto",
  name: "proto",
  for: "http",
  parse: (value: string) => oneOf(value, protocols),
  default: "h1",
  check: (_, __, service) => {
    const useless = tlsOptions.find((each) => service[each.name] !== undefined);
    return useless === undefined || tlsOf(service) !== undefined
      ? undefined
      : `has SERVICE_${useless.key.toUpperCase()}, which needs TLS: set SERVICE_PROTO=https, or remove it`;
  },
  reference: {
    default: "`h1`",
    meaning:
      "`h2c` for instances that speak HTTP/2 without TLS, as gRPC servers do; `https` for those that speak HTTP/1.1 or HTTP/2 over TLS, see [below](#tls-to-instances)",
  },
  examples: ["h2c", "h1", "https"],
  serverWords: (protocol, { service, hostname }) => {
    const tls = tlsOf(service, hostname);
    if (tls !== undefined) return tlsWords(tls);
    return protocol === "h2c" ? "proto h2 check-proto h2" : undefined;
  },
});
