import { expect, test } from "vitest";
import { read } from "../testing";
import { tlsServerName } from "./tls-server-name";

test("accepts a host name", () => {
  expect(read(tlsServerName, { proto: "https", tls_server_name: "shop.internal" })).toBe("shop.internal");
});

test.each(["*.example.com", "a.org,b.org", "Shop", "a.org:443", "x) verify none", ""])(
  "rejects %j",
  (value) => {
    expect(read(tlsServerName, { proto: "https", tls_server_name: value })).toContain(
      "which is not a host name",
    );
  },
);
