import { expect, test } from "vitest";
import { read } from "../testing";
import { proto, tlsOf, whyUnverifiable } from "./proto";

const words = (service: Readonly<Record<string, unknown>>) =>
  proto.serverWords?.(service["proto"] as "https", { name: "10.0.0.1:80", service });

test.each(["h2c", "h1", "https"])("takes %s", (value) => {
  expect(read(proto, { proto: value })).toBe(value);
});

test("rejects other protocols", () => {
  expect(read(proto, { proto: "h3" })).toBe('has SERVICE_PROTO="h3", which is none of h2c, h1, https');
});

test("makes health checks use HTTP/2 too", () => {
  expect(words({ proto: "h2c" })).toBe("proto h2 check-proto h2");
  expect(words({ proto: "h1" })).toBeUndefined();
});

const tls = "ssl check-ssl alpn h2,http/1.1 check-alpn h2,http/1.1";

test("verifies certificates against the public authorities and the name, in checks too", () => {
  expect(words({ proto: "https", tlsServerName: "x.org" })).toBe(
    `${tls} sni str(x.org) check-sni x.org verify required ca-file .public.pem verifyhost x.org`,
  );
});

test("takes another authority, or none", () => {
  expect(words({ proto: "https", tlsServerName: "x.org", tlsCa: "a.pem" })).toContain(
    "verify required ca-file a.pem verifyhost x.org",
  );
  expect(words({ proto: "https", tlsVerify: false })).toBe(`${tls} verify none`);
  expect(words({ proto: "https", tlsVerify: false, tlsServerName: "x.org" })).toBe(
    `${tls} sni str(x.org) check-sni x.org verify none`,
  );
});

test("accepts no certificate where a name is missing", () => {
  expect(words({ proto: "https" })).toContain("verifyhost -");
});

test.each([
  [{ host: "a.org" }, "a.org"],
  [{ host: "*.org,b.org,c.org" }, "b.org"],
  [{ host: "*.org" }, undefined],
  [{ host: "a.org", tlsServerName: "x.org" }, "x.org"],
])("finds the name for %j", (service, name) => {
  expect(tlsOf({ proto: "https", ...service })?.name).toBe(name);
});

test("says when there is no name to verify", () => {
  expect(whyUnverifiable({ proto: "https" })).toContain("set SERVICE_TLS_SERVER_NAME");
  expect(whyUnverifiable({ proto: "https", tlsVerify: false })).toBeUndefined();
  expect(whyUnverifiable({ proto: "https", host: "a.org" })).toBeUndefined();
  expect(whyUnverifiable({ proto: "h1" })).toBeUndefined();
});

test.each(["tls_verify", "tls_server_name", "tls_ca"])("%s needs TLS", (key) => {
  const value = { tls_verify: "false", tls_server_name: "x.org", tls_ca: "a.pem" }[key] ?? "";
  expect(read(proto, { [key]: value })).toBe(
    `has SERVICE_${key.toUpperCase()}, which needs TLS: set SERVICE_PROTO=https, or remove it`,
  );
  expect(read(proto, { [key]: value, proto: "https" })).toBe("https");
});
