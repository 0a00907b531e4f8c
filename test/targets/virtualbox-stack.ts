import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { readyFile } from "../../components/nodes/cloud-init";
import { fakeConvert, FakeVBoxManage } from "../../components/nodes/virtualbox/fake-vboxmanage";
import { get } from "../e2e/http";
import { bootMachines, Machine, removeMachines } from "../e2e/machines";
import { clusterStack as stack, succeeded } from "../e2e/stack";
import { afterwards } from "../e2e/tear-down";
import { baseDisk, executable, installPrograms } from "./virtualbox";

/**
 * A stack of VirtualBox machines. VBoxManage is the fake of the unit tests; when it starts or stops a machine, one with an engine of
 * its own boots or shuts down. `ssh` reaches that engine directly.
 */
export class VirtualBoxStack {
  readonly machines: readonly Machine[];
  readonly vboxManage = new FakeVBoxManage();
  /** What happened to the machines, in order. */
  readonly events: string[] = [];
  private isBooted = false;

  /** @param stopping called before a machine stops */
  constructor(
    readonly names: readonly string[],
    private readonly stopping: (machine: Machine) => Promise<void> = () => Promise.resolve(),
  ) {
    this.machines = names.map((name, index) => new Machine(name, index + 1));
    this.vboxManage.adapter = { name: "vboxnet0", address: "10.97.0.1" };
  }

  /** Makes the machines, and the stack on them. */
  async create(): Promise<void> {
    this.install();
    afterwards(removeMachines);
    await bootMachines(this.machines);
    // The download of Debian's image.
    mkdirSync(".switchyard/images", { recursive: true });
    fakeConvert([baseDisk]);
    afterwards(() => {
      rmSync(baseDisk, { force: true });
    });
    afterwards(() => stack.remove());
    this.configure({});
    succeeded(await stack.up());
    this.isBooted = true;
  }

  configure(machine: object): void {
    const service = (name: string, replicas: number) => ({ name, build: "hello", port: 8080, replicas });
    stack.configure([service("hello/v1", 3), service("alone/v1", 1)], {
      target: "virtualbox",
      nodes: this.names.length,
      machine: { network: "10.97.0.0/24", ...machine },
    });
  }

  /** The Swarm's nodes as the first machine sees them. */
  async nodes(): Promise<string[] | undefined> {
    const list = await this.machines[0]?.docker("node", "ls", "--format", "{{.Availability}} {{.Status}}");
    return list?.split("\n");
  }

  /** What the command does to the machine itself. */
  private async power(verb: string, name: string): Promise<void> {
    const machine = this.machines.find((each) => name.endsWith(each.name));
    if (machine === undefined) return;
    if (verb === "unregistervm") machine.wipe();
    else if (verb === "controlvm") {
      await this.stopping(machine);
      const others = this.machines.filter((each) => each !== machine);
      const serving = await Promise.all(others.map((each) => get(`${urlOf(each)}/alone/v1`)));
      const answers = serving.map(({ status }) => status).join(" and ");
      this.events.push(`${machine.name} stops${answers === "" ? "" : ` while ${answers} from the others`}`);
      await machine.shutDown();
    } else if (this.isBooted) {
      this.events.push(`${machine.name} starts`);
      await machine.start();
    }
  }

  /** Puts the programs that `script/up` runs for VirtualBox first in PATH. */
  private install(): void {
    const bin = installPrograms({
      VBoxManage: async (args) => {
        const result = await this.vboxManage.run(args);
        const [verb = "", name = ""] = args;
        if (result.code === 0 && ["startvm", "controlvm", "unregistervm"].includes(verb))
          await this.power(verb, name);
        return result;
      },
      "qemu-img": fakeConvert,
    });
    executable(
      join(bin, "ssh"),
      "#!/bin/sh",
      `while [ "$1" != -- ]; do shift; done`,
      `case "$2" in`,
      // Go's Docker client passes the user as an option.
      ...this.machines.map(
        ({ address, dockerHost }) => `  ${address} | *@${address}) engine=${dockerHost} ;;`,
      ),
      '  *) echo "no machine $2" >&2; exit 255 ;;',
      "esac",
      "shift 2",
      `if [ "$*" = "docker system dial-stdio" ]; then exec docker -H "$engine" system dial-stdio; fi`,
      // The first boot is over.
      `docker -H "$engine" info >/dev/null && echo ${readyFile}`,
    );
  }
}

export const urlOf = ({ address }: Machine): string => `http://${address}`;
