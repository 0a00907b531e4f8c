/**
 * Notices nodes that have gone without ending their connections, as a machine does that loses its power. Without it, whoever has
 * sent something over such a connection waits for minutes: the load balancer cannot even try another instance.
 */
import { createConnection, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** Swarm's gossip and Consul's: somebody may close one of them. A node that refuses the connection is there as well. */
const ports = [7946, 8301];
const periodMs = 2_000;
/** How many questions in a row a lost node has left unanswered. */
const maxUnanswered = 5;

export class LostNodes {
  private readonly lost = new Set<string>();

  /** Tells `changed` when a node is lost or answers again. `ask` and `pause` are for tests. */
  constructor(
    private readonly nodes: readonly string[],
    private readonly changed: (node: string, isLost: boolean) => void,
    private readonly ask = (node: string) => answers(node),
    private readonly pause = () => sleep(periodMs),
  ) {}

  /** The addresses of the nodes that are lost. */
  get addresses(): readonly string[] {
    return [...this.lost].sort();
  }

  /** Asks each node but this one, forever. */
  follow(): void {
    const own = new Set(Object.values(networkInterfaces()).flatMap((all) => all?.map((one) => one.address)));
    for (const node of new Set(this.nodes))
      if (isIP(node) !== 0 && !own.has(node)) void this.followNode(node);
  }

  private async followNode(node: string): Promise<never> {
    // A node that has never answered may be behind a firewall that drops these ports.
    let hasAnswered = false;
    for (let unanswered = 0; ;) {
      const [isThere] = await Promise.all([this.ask(node), this.pause()]);
      hasAnswered ||= isThere;
      unanswered = isThere ? 0 : unanswered + 1;
      const isLost = hasAnswered && unanswered >= maxUnanswered;
      if (isLost === this.lost.has(node)) continue;
      if (isLost) this.lost.add(node);
      else this.lost.delete(node);
      this.changed(node, isLost);
    }
  }
}

/** Whether a node accepts or refuses a connection at one of the ports. `ask` is for tests. */
export async function answers(node: string, ask = answersAt): Promise<boolean> {
  return (await Promise.all(ports.map((port) => ask(node, port)))).includes(true);
}

/** A firewall that drops packets is no sign of life. */
function answersAt(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: periodMs });
    const end = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.on("connect", () => {
      end(true);
    });
    socket.on("timeout", () => {
      end(false);
    });
    socket.on("error", ({ code }: NodeJS.ErrnoException) => {
      end(code === "ECONNREFUSED" || code === "ECONNRESET");
    });
  });
}
