import { fields, texts, type FirewallReader } from "../target";

export const firewalls: readonly FirewallReader[] = [
  {
    type: "gcp:compute/firewall:Firewall",
    inputs: ["direction", "allows", "sourceRanges", "sourceTags", "sourceServiceAccounts", "disabled"],
    read: (inputs) => {
      if (inputs["direction"] === "EGRESS" || inputs["disabled"] === true) return [];
      const named = [inputs["sourceRanges"], inputs["sourceTags"], inputs["sourceServiceAccounts"]];
      // Google applies a rule without sources to all sources.
      const sources = named.every((each) => texts(each).length === 0)
        ? ["0.0.0.0/0"]
        : texts(inputs["sourceRanges"]);
      return fields(inputs["allows"]).flatMap(({ protocol, ports }) => {
        const ranges = texts(ports);
        return (ranges.length === 0 ? ["0-65535"] : ranges).map((range) => {
          const [from = 0, to = from] = range.split("-").map(Number);
          return { protocol: String(protocol), from, to, sources };
        });
      });
    },
  },
];
