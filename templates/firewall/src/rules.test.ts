import { expect, it } from "vitest";
import { parseOptions } from "./options";
import { bridgedRules, lostRules, routedRules } from "./rules";

const options = parseOptions(["--nodes=10.0.0.11,fd00::11,10.0.0.11", "--admins=203.0.113.0/24"], {});
const instances = { ports: { ipv4: [32768, 32770], ipv6: [32769] }, addresses: ["172.17.0.4"] };
const elements = (rules: string) => rules.match(/set .*|elements = .*/g);

it("sorts addresses by family, and leaves an empty set without elements, which nftables would refuse", () => {
  expect(elements(routedRules(options, instances))).toEqual([
    "set nodes_ipv4 {",
    "elements = { 10.0.0.11 }",
    "set nodes_ipv6 {",
    "elements = { fd00::11 }",
    "set admins_ipv4 {",
    "elements = { 203.0.113.0/24 }",
    "set admins_ipv6 {",
    "set lost_ipv4 {",
    "set lost_ipv6 {",
    "set instance_ports_ipv4 {",
    "elements = { 32768, 32770 }",
    "set instance_ports_ipv6 {",
    "elements = { 32769 }",
    "set instance_addresses {",
    "elements = { 172.17.0.4 }",
  ]);
});

it("resets connections to lost nodes, until nobody says any more that they are lost", () => {
  const rules = routedRules(options, instances, ["10.0.0.11", "fd00::11"]);
  const part = (start: string) => rules.slice(rules.indexOf(start)).split("  }\n")[0];
  expect(part("chain output")).toBe(`chain output {
    type filter hook output priority filter - 10; policy accept;
    ip daddr @lost_ipv4 tcp flags & (syn | rst) == 0 reject with tcp reset
    ip6 daddr @lost_ipv6 tcp flags & (syn | rst) == 0 reject with tcp reset
`);
  expect(part("set lost_ipv4")).toBe(`set lost_ipv4 {
    typeof ip saddr
    timeout 30s
    elements = { 10.0.0.11 }
`);
  expect(part("set lost_ipv6")).toContain("elements = { fd00::11 }");
});

it("replaces the lost nodes alone", () => {
  const none = "flush set inet switchyard lost_ipv4\nflush set inet switchyard lost_ipv6\n";
  expect(lostRules([])).toBe(none);
  expect(lostRules(["fd00::11", "10.0.0.11", "10.0.0.12"])).toBe(
    `${none}add element inet switchyard lost_ipv4 { 10.0.0.11, 10.0.0.12 }\nadd element inet switchyard lost_ipv6 { fd00::11 }\n`,
  );
});

it("replaces its own tables only, each in one step", () => {
  const rules = routedRules(options, instances) + bridgedRules(instances);
  expect(rules.match(/^(table|delete|flush).*/gm)).toEqual([
    "table inet switchyard",
    "delete table inet switchyard",
    "table inet switchyard {",
    "table bridge switchyard",
    "delete table bridge switchyard",
    "table bridge switchyard {",
  ]);
});
