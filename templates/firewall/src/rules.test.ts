import { expect, it } from "vitest";
import { parseOptions } from "./options";
import { bridgedRules, routedRules } from "./rules";

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

it("resets connections to lost nodes only", () => {
  const lost = (nodes: readonly string[]) =>
    /set lost_ipv4 \{[^}]*\}/.exec(routedRules(options, instances, nodes))?.[0];
  expect(lost([])).not.toContain("elements");
  expect(lost(["10.0.0.11"])).toContain("elements = { 10.0.0.11 }");
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
