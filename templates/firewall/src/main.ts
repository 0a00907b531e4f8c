/** Keeps the firewall of a node in force: see README.md. */
import { setTimeout as sleep } from "node:timers/promises";
import { Complaint } from "../../../lib/complaint";
import { messageOf, UserError } from "../../../lib/errors";
import { Engine } from "./engine";
import { none, type Instances } from "./instances";
import { Listing } from "./listing";
import { LostNodes } from "./lost-nodes";
import { apply, clear, isInForce } from "./nft";
import { parseOptions, type Options } from "./options";
import { bridgedRules, lostRules, routedRules } from "./rules";
import { escapeLines } from "../../../lib/text";

/** How often to see whether somebody has flushed the rules. */
const checkMs = 5_000;
/** The pause before the engine is asked again. */
const retryMs = 500;

const log = (line: string): void => {
  process.stdout.write(`${escapeLines(line)}\n`);
};

class Firewall {
  private readonly engine: Engine;
  private readonly listing: Listing;
  private inForce = "";
  private isBusy = false;
  private isDue = false;
  private readonly complaint = new Complaint(log);
  private readonly lost: LostNodes;

  constructor(private readonly options: Options) {
    this.engine = new Engine(options.socketPath);
    this.listing = new Listing(() => this.engine.instances(), log);
    this.lost = new LostNodes(options.nodes, (node, isLost) => {
      log(isLost ? `${node} is lost; connections to it are reset` : `${node} answers again`);
      this.update();
    });
  }

  async run(): Promise<never> {
    // Those of an earlier run stay until the engine has answered, but nodes may be back that it had lost.
    if (!(await isInForce())) await this.enforce(none);
    else await this.forgetLost();
    this.lost.follow();
    setInterval(() => {
      void isInForce().then((yes) => {
        if (yes) {
          if (this.lost.addresses.length > 0) this.update();
          return;
        }
        log("the rules were removed; putting them back");
        this.inForce = "";
        this.update();
      });
    }, checkMs);
    for (;;) {
      await this.engine
        .follow(() => {
          this.update();
        })
        .catch((error: unknown) => {
          this.complaint.about(`Docker does not answer (${messageOf(error)}); the rules stay as they are`);
        });
      await sleep(retryMs);
    }
  }

  /** What else is in force stays. */
  async forgetLost(): Promise<void> {
    // The rules of an earlier version may know no lost nodes.
    await apply(lostRules([])).catch((error: unknown) => {
      log(`lost nodes were not removed from the rules: ${messageOf(error)}`);
    });
  }

  /** Asks the engine and changes the rules, once for all changes that happen meanwhile. */
  private update(): void {
    this.isDue = true;
    if (this.isBusy) return;
    this.isBusy = true;
    void this.work().finally(() => {
      this.isBusy = false;
    });
  }

  private async work(): Promise<void> {
    while (this.isDue) {
      this.isDue = false;
      try {
        await this.enforce(await this.listing.instances());
        this.complaint.clear();
        if (this.listing.isOld) {
          await sleep(retryMs);
          this.isDue = true;
        }
      } catch (error) {
        this.complaint.about(messageOf(error));
        await sleep(retryMs);
        this.isDue = true;
      }
    }
  }

  private async enforce(instances: Instances): Promise<void> {
    const lost = this.lost.addresses;
    const rules = routedRules(this.options, instances, lost);
    if (rules !== this.inForce) {
      await apply(rules);
      await apply(bridgedRules(instances)).catch((error: unknown) => {
        log(`containers on one bridge reach each other's instances: ${messageOf(error)}`);
      });
      const { ports, addresses } = instances;
      log(`in force for ${addresses.length} instances at ${ports.ipv4.length} ports`);
    } else if (lost.length > 0) await apply(lostRules(lost));
    this.inForce = rules;
  }
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args[0] === "clear") return clear();
  const firewall = new Firewall(parseOptions(args, process.env));
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      log(`${signal}: exiting; the rules stay, except those for lost nodes`);
      void firewall.forgetLost().then(() => process.exit(0));
    });
  await firewall.run();
}

main().catch((error: unknown) => {
  // Anything but a user's mistake is a bug, and needs its stack trace.
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
