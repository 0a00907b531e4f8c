import { expect, test } from "vitest";
import { read } from "../testing";
import { tlsCa } from "./tls-ca";

test("accepts the name of a file", () => {
  expect(read(tlsCa, { proto: "https", tls_ca: "internal.pem" })).toBe("internal.pem");
});

test.each(["/etc/ssl/ca.pem", "../ca.pem", "internal", ".public.pem", "a b.pem", "@system-ca", "%[x].pem"])(
  "rejects %j",
  (value) => {
    expect(read(tlsCa, { proto: "https", tls_ca: value })).toContain(
      "which is not the name of a file NAME.pem",
    );
  },
);
