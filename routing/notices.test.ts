import fc from "fast-check";
import { expect, test } from "vitest";
import { buildRouting } from "./build";
import { noticeService, readNotices, writeNotices, type Notice } from "./notices";
import type { Instance } from "./types";

const carrier = (meta: Record<string, string>, node = "n1"): Instance => ({
  service: noticeService,
  id: `${node}:registrator:0`,
  node,
  address: "10.0.0.1",
  port: 0,
  tags: [],
  meta,
  healthy: true,
});
const web: Notice = { container: "web", service: "web/v1", why: "its port 8080 is not published" };

test("notices arrive as they were sent", () => {
  expect(readNotices([carrier(writeNotices([web]))])).toEqual([{ ...web, node: "n1" }]);
});

test("a notice is a sentence in the routing, and routes nothing", () => {
  const { problems, backends, routes } = buildRouting({ instances: [carrier(writeNotices([web]))], kv: {} });
  expect(problems).toEqual([
    {
      level: "unrouted",
      subject: "web/v1",
      message:
        'Container "web" on node "n1" is seen, but not routed as "web/v1", because its port 8080 is not published.',
    },
  ]);
  expect([backends, routes]).toEqual([[], []]);
});

test("Consul accepts any notices", () => {
  const text = fc.string({ unit: "binary", maxLength: 700 });
  const notice = fc.record({ container: text, service: text, why: text });
  fc.assert(
    fc.property(fc.array(notice, { maxLength: 80 }), (notices) => {
      const meta = writeNotices(notices);
      expect(Object.keys(meta).length).toBeLessThanOrEqual(60);
      for (const [key, value] of Object.entries(meta)) {
        expect(key).toMatch(/^[a-zA-Z0-9_-]{1,128}$/);
        expect(Buffer.byteLength(value)).toBeLessThanOrEqual(512);
      }
    }),
  );
});

test("whatever is registered, messages are safe and bounded", () => {
  const value = fc.oneof(
    fc.string({ unit: "binary", maxLength: 512 }),
    fc
      .array(fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()), { maxLength: 4 })
      .map((each) => JSON.stringify(each)),
    fc.constant(JSON.stringify(["a\nb", "c\u202ed", "<script>\u0000"])),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value), fc.string({ unit: "binary" }), (meta, node) => {
      for (const { message } of buildRouting({ instances: [carrier(meta, node)], kv: {} }).problems) {
        expect(message).toMatch(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u);
        expect(message.length).toBeLessThan(4_000);
      }
    }),
  );
});

test("one registration per node counts, and a thousand notices in all", () => {
  const many = Array.from({ length: 60 }, (_, index) => ({ ...web, container: `c${index}` }));
  const twice = [carrier(writeNotices([web])), carrier(writeNotices(many))];
  expect(readNotices(twice)).toHaveLength(1);
  const nodes = Array.from({ length: 40 }, (_, index) => carrier(writeNotices(many), `n${index}`));
  expect(readNotices(nodes)).toHaveLength(1_000);
});
