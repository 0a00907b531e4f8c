/** nftables, by way of its command. */
import { outputOf, run } from "../../../lib/run";
import { tables } from "./rules";

const timeoutMs = 20_000;

/** Puts rules into force, all of them or none. */
export async function apply(rules: string): Promise<void> {
  await outputOf("nft", ["-f", "-"], { timeoutMs, input: rules });
}

/** Whether the rules for traffic between networks are in force. */
export async function isInForce(): Promise<boolean> {
  return (await run("nft", ["list", "table", ...tables[0].split(" ")], { timeoutMs })).code === 0;
}

/** Removes the rules. */
export async function clear(): Promise<void> {
  for (const table of tables) await apply(`table ${table}\ndelete table ${table}\n`);
}
