import { spawn, type ChildProcess } from "node:child_process";

import { metadataAddress } from "../../components/nodes/cloud-init";
import { outputOf, run } from "./stack";
import { afterwards } from "./tear-down";

// A machine beside this one, in a network namespace: what it reaches, the world reaches. Only root can make one.

const namespace = "sw-e2e-world";
const link = "sw-e2e-world";

/** This machine's addresses on the network that it shares with the world. */
export const here = { ipv4: "10.96.0.1", ipv6: "fd96::1" };
/** The world's address. */
export const there = "10.96.0.2";
/** Another address of the world's. */
export const elsewhere = "10.96.0.3";

const inWorld = [`--net=/run/netns/${namespace}`];
let server: ChildProcess | undefined;

/** Makes the world, with a server on port 80 of its own address and of the one for metadata. */
export async function makeWorld(): Promise<void> {
  await removeWorld();
  afterwards(removeWorld);
  await outputOf("ip", "netns", "add", namespace);
  await outputOf("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace);
  await outputOf("ip", "addr", "add", `${here.ipv4}/24`, "dev", link);
  await outputOf("ip", "addr", "add", `${here.ipv6}/64`, "nodad", "dev", link);
  await outputOf("ip", "link", "set", link, "up");
  const inside = (...args: string[]) => outputOf("ip", "-n", namespace, ...args);
  await inside("addr", "add", `${there}/24`, "dev", "eth0");
  await inside("addr", "add", `${elsewhere}/24`, "dev", "eth0");
  await inside("addr", "add", "fd96::2/64", "nodad", "dev", "eth0");
  await inside("addr", "add", `${metadataAddress}/32`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("route", "add", "default", "via", here.ipv4);
  await outputOf("ip", "route", "replace", metadataAddress, "via", there);
  const serve = `require("node:http").createServer((_, response) => response.end("world")).listen(80)`;
  server = spawn("nsenter", [...inWorld, "node", "-e", serve], { stdio: "ignore" });
}

async function removeWorld(): Promise<void> {
  server?.kill("SIGKILL");
  await run("ip", ["netns", "del", namespace]);
  await run("ip", ["link", "del", link]);
}

/** The ports at which the world can connect to an address, from one of its own. */
export async function openPorts(
  address: string,
  ports: readonly [from: number, to: number],
  own = address.includes(":") ? "::" : there,
): Promise<number[]> {
  const code = `
    const { connect } = require("node:net");
    const [address, localAddress, from, to] = process.argv.slice(1);
    const open = [];
    let next = Number(from);
    let left = 500;
    const one = () => {
      if (next > to) return --left || console.log(JSON.stringify(open));
      const port = next++;
      const socket = connect({ host: address, localAddress, port, timeout: 2000 });
      socket.on("connect", () => { open.push(port); socket.destroy(); });
      socket.on("timeout", () => socket.destroy());
      socket.on("error", () => {});
      socket.on("close", one);
    };
    for (let each = left; each > 0; each--) one();`;
  const args = [address, own, ...ports.map(String)];
  return JSON.parse(await outputOf("nsenter", ...inWorld, "node", "-e", code, ...args)) as number[];
}
