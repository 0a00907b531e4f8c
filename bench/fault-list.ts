import { chmodSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { makeCertificate } from "../test/e2e/certificates";
import { put } from "../test/e2e/consul";
import { docker, lines } from "../test/e2e/docker";
import { secureStatus } from "../test/e2e/http";
import { crashRenderer, hangRenderer, rendererFaults } from "../test/e2e/renderer-faults";
import { outputOf } from "../test/e2e/stack";
import { pidOf, type Container } from "./containers";
import type { Site } from "./fault-site";
import { ports } from "./ports";

/** What a fault works on. */
export interface Scene {
  readonly site: Site;
  readonly balancer: Container;
  /** Whether the balancer is Switchyard. */
  readonly ours: boolean;
  /** A folder of the host that Switchyard sees as `/faults`. */
  readonly folder: string;
}

/** Ends a fault. */
type Lift = () => unknown;

export interface Fault {
  readonly name: string;
  /** About its figures, such as why requests fail. */
  readonly note?: string;
  /** Requests cannot but fail, for the reason in `note`. */
  readonly mayFail?: boolean;
  /** How long it lasts, if not as long as usual: long enough to be noticed. */
  readonly holdSeconds?: number;
  /** The peers have nothing of the kind. */
  readonly onlyOurs?: boolean;
  /** How Switchyard is started for it, other than usual; undefined if this machine lacks what it needs. */
  readonly start?: (folder: string) => Start | undefined;
  /** Returns how it ends, if it does not end by itself. */
  readonly strike: (scene: Scene) => Promise<Lift | undefined> | Lift | undefined;
  /** Whether something that the fault could break, beside requests and changes, works. */
  readonly works?: () => Promise<boolean>;
}

export interface Start {
  readonly docker?: readonly string[];
  readonly args?: readonly string[];
}

const httpsPort = ports.traffic + 3;
const fakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

const preloaded = (folder: string): Start => ({
  docker: ["-e", `NODE_OPTIONS=${rendererFaults(folder, "/faults").NODE_OPTIONS}`],
});

/** Has the renderer fail once. */
const crash: Fault["strike"] = async ({ folder, balancer }) => {
  const lift = crashRenderer(folder);
  while ((await balancer.count(/The renderer failed/)) === 0) await sleep(20);
  lift();
  return undefined;
};

/** Has the renderer do nothing until the fault ends, and each one that replaces it. */
const hang: Fault["strike"] = async ({ folder }) => {
  const lift = hangRenderer(folder);
  // Its timer looks every 10 ms.
  await sleep(200);
  return lift;
};

const freeze = (pid: number): Lift => {
  process.kill(pid, "SIGSTOP");
  return () => {
    try {
      process.kill(pid, "SIGCONT");
    } catch {
      // It has been ended meanwhile, which is one way to notice.
    }
  };
};

/** The worker of Switchyard's HAProxy, or the only process of a peer. */
async function serving({ balancer, ours }: Scene): Promise<number> {
  if (!ours) return balancer.pid();
  const rows = lines(await docker("top", balancer.name, "-eo", "pid,ppid,comm"))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , program]) => program === "haproxy");
  const worker = rows.find(([, parent]) => rows.some(([pid]) => pid === parent));
  return Number(worker?.[0]);
}

async function kill(pid: Promise<number>): Promise<undefined> {
  process.kill(await pid, "SIGKILL");
  return undefined;
}

async function silentConnections(count: number): Promise<Lift> {
  const sockets: Socket[] = [];
  for (let index = 0; index < count; index++) {
    const socket = createConnection({
      host: "127.0.0.1",
      port: ports.traffic,
      localAddress: `127.0.1.${1 + (index % 200)}`,
    });
    socket.on("error", () => undefined);
    sockets.push(socket);
    if (index % 100 === 99) await sleep(10);
  }
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** Registers and deregisters an instance, 1,000 changes in all. */
async function flap({ site }: Scene): Promise<undefined> {
  const service = { ID: "flapping", Name: "flapping", Address: "127.0.0.1", Port: 9, Tags: ["rest"] };
  for (let change = 0; change < 1_000; change++) {
    if (change % 2 === 0) await put(site.direct, "agent/service/register", service);
    else await put(site.direct, "agent/service/deregister/flapping", "");
  }
  return undefined;
}

async function rubbish({ site }: Scene): Promise<Lift> {
  const values = [
    "\0\xff",
    "{",
    "x".repeat(400_000),
    "-1",
    "1e999",
    "../../etc/passwd",
    "v1=,v2",
    "\n\nglobal\n",
  ];
  const known = [
    "maxconn",
    "timeouts/connect",
    "timeouts/client",
    "timeouts/server",
    "versions/shop",
    "headers/x",
  ];
  const keys = [
    ...known,
    ...Array.from({ length: 500 }, (_, index) => `rubbish/${"é".repeat(index % 50)}${index}`),
  ];
  const all = [
    ...keys.map((key) => `service/haproxy/${key}`),
    // fabio reads its manual routes there.
    "fabio/config",
    "fabio/config/rubbish",
  ];
  for (const [index, key] of all.entries())
    await put(site.direct, `kv/${encodeURI(key)}`, values[index % values.length] ?? "");
  return async () => {
    for (const folder of ["service/haproxy/", "fabio/"])
      await fetch(`http://${site.direct}/v1/kv/${folder}?recurse`, { method: "DELETE" });
  };
}

/** Fills the disk that holds Switchyard's state. */
async function fillState({ balancer }: Scene): Promise<Lift> {
  const inside = async (...command: string[]) =>
    outputOf("nsenter", "-t", String(await balancer.pid()), "-m", ...command);
  const folder = "/var/lib/switchyard";
  await inside("mount", "-o", "remount,size=2m", folder);
  await inside("sh", "-c", `dd if=/dev/zero of=${folder}/fill bs=4k 2>/dev/null; true`);
  return async () => {
    await inside("rm", `${folder}/fill`);
    await inside("mount", "-o", "remount,size=1g", folder);
  };
}

/** Fills Consul's disk until it can write nothing. */
async function fillConsul({ site }: Scene): Promise<Lift> {
  const file = join(site.data, "fill");
  await outputOf("sh", "-c", `dd if=/dev/zero of=${file} bs=4k 2>/dev/null; true`);
  return () => {
    rmSync(file);
  };
}

/** Leaves 4 MiB above what the container uses, and makes it need more. */
async function limitMemory({ balancer }: Scene): Promise<Lift> {
  const limit = (bytes: number) =>
    docker("update", "--memory", String(bytes), "--memory-swap", String(bytes), balancer.name);
  await limit((await balancer.memoryBytes()) + 4 * 2 ** 20);
  const lift = await silentConnections(2_000);
  return async () => {
    await lift();
    await limit(8 * 2 ** 30);
  };
}

async function restartEngine({ far }: Site): Promise<undefined> {
  await far.restartEngine("TERM");
  return undefined;
}

function certificates(folder: string): Start {
  const { pem, key } = makeCertificate("faults.test");
  writeFileSync(join(folder, "faults.pem"), pem + key);
  return { args: ["--certs=/faults", `--https-port=${httpsPort}`] };
}

export const faults: readonly Fault[] = [
  { name: "none, for comparison", strike: () => undefined },
  {
    name: "Consul killed, started again after the time above",
    strike: async ({ site }) => {
      await docker("kill", site.consul);
      return () => docker("start", site.consul);
    },
  },
  {
    name: "Consul restarted",
    strike: async ({ site }) => {
      await docker("restart", site.consul);
      return undefined;
    },
  },
  {
    name: "Consul emptied",
    strike: async ({ site }) => {
      await docker("kill", site.consul);
      await outputOf("sh", "-c", `rm -rf ${site.data}/*`);
      await docker("start", site.consul);
      await site.rejoin();
      return undefined;
    },
  },
  { name: "Consul frozen", strike: async ({ site }) => freeze(await pidOf(site.consul)) },
  {
    name: "Consul slow, 200 ms each way",
    strike: ({ site }) => {
      site.delayConsul(200);
      return () => {
        site.delayConsul(0);
      };
    },
  },
  { name: "Consul's disk full", strike: fillConsul },
  {
    name: "Registrator killed",
    strike: ({ site }) => kill(pidOf(site.registrator)),
  },
  { name: "Registrator frozen", strike: async ({ site }) => freeze(await pidOf(site.registrator)) },
  { name: "renderer killed", onlyOurs: true, start: preloaded, strike: crash },
  { name: "renderer frozen", holdSeconds: 40, onlyOurs: true, start: preloaded, strike: hang },
  {
    name: "main process frozen",
    note: "A peer's main process is the one that serves.",
    strike: async ({ balancer }) => freeze(await balancer.pid()),
  },
  {
    name: "main process killed",
    mayFail: true,
    note: "The container ends, and Docker starts it again: requests fail until then.",
    strike: ({ balancer }) => kill(balancer.pid()),
  },
  {
    name: "HAProxy's worker killed",
    mayFail: true,
    note: "Connections break, and new ones are refused until the next worker listens. For a peer: its only process.",
    strike: (scene) => kill(serving(scene)),
  },
  {
    name: "HAProxy's worker frozen",
    holdSeconds: 50,
    mayFail: true,
    note: "Nobody answers until it is noticed. For a peer: its only process.",
    strike: async (scene) => freeze(await serving(scene)),
  },
  {
    name: "engine of a node restarted",
    note: "The second machine's. A load balancer whose own engine restarts is back with it, after about 15 s.",
    strike: ({ site }) => restartEngine(site),
  },
  {
    name: "node killed",
    note: "A request that the node has taken, but not answered, waits for its timeout.",
    strike: async ({ site: { far } }) => {
      await far.kill();
      return () => far.start();
    },
  },
  {
    name: "node cut off",
    note: "As above.",
    strike: async ({ site: { far } }) => {
      await far.connected(false);
      return () => far.connected(true);
    },
  },
  {
    name: "node slow, 200 ms each way",
    note: "Its instance is registered anew, behind a proxy that delays.",
    strike: async ({ site }) => {
      await site.registerFar(200);
      return () => site.registerFar(0);
    },
  },
  {
    name: "node with packet loss of 5 %",
    strike: async ({ site }) => {
      await site.losePackets();
      return () => site.losePackets(false);
    },
  },
  {
    name: "clock 1 h ahead",
    note: "Of Switchyard's own processes, by libfaketime; HAProxy has a file capability, which rules out LD_PRELOAD, and so do the peers, which are linked statically.",
    onlyOurs: true,
    start: (folder) => {
      if (!existsSync(fakeTime)) return undefined;
      writeFileSync(join(folder, "clock"), "+0\n");
      const variables = [
        "LD_PRELOAD=/faketime.so",
        "FAKETIME_TIMESTAMP_FILE=/faults/clock",
        "FAKETIME_NO_CACHE=1",
        "DONT_FAKE_MONOTONIC=1",
      ];
      return { docker: [...variables.flatMap((each) => ["-e", each]), "-v", `${fakeTime}:/faketime.so:ro`] };
    },
    strike: ({ folder }) => {
      writeFileSync(join(folder, "clock"), "+3600\n");
      return () => {
        writeFileSync(join(folder, "clock"), "+0\n");
      };
    },
  },
  { name: "1,000 flaps", strike: flap },
  { name: "disk of the state full", onlyOurs: true, strike: fillState },
  {
    name: "memory limit of the load balancer hit",
    mayFail: true,
    note: "The kernel may kill a process of the container. Requests fail if it is HAProxy's.",
    strike: limitMemory,
  },
  { name: "10,000 connections that say nothing", strike: () => silentConnections(10_000) },
  {
    name: "a certificate that cannot be read",
    onlyOurs: true,
    start: certificates,
    strike: ({ folder }) => {
      chmodSync(join(folder, "faults.pem"), 0);
      return () => {
        chmodSync(join(folder, "faults.pem"), 0o644);
      };
    },
    works: async () => (await secureStatus(httpsPort, "/shop", "faults.test")) === 200,
  },
  { name: "KV full of rubbish", strike: rubbish },
];
