/** One client per Docker host of the program's providers. */
import type Docker from "dockerode";
import { connect } from "../../providers/client";
import { messageOf, UserError } from "../../lib/errors";
import { hasUnknown, type Wire, type WireMap } from "../wire";
import { text, texts } from "./values";

/** The supported inputs of a Docker provider. Certificates come from the environment, as in `connect`. */
export const PROVIDER_INPUTS = ["host", "sshOpts", "certPath"];
const DEFAULT_HOST = "unix:///var/run/docker.sock";

export class Unreachable extends UserError {}

export interface Host {
  readonly docker: Docker;
  readonly name: string;
}

/** Connects to the engine in a provider's inputs. There is no time limit, because builds and stops may take long. */
function connectTo(inputs: WireMap): Host {
  const unknown = Object.keys(inputs).find((key) => !PROVIDER_INPUTS.includes(key) && key !== "version");
  if (unknown !== undefined) {
    throw new UserError(
      `The Docker provider's \`${unknown}\` is not supported by the embedded engine: remove it.`,
    );
  }
  const name = text(inputs.host) ?? process.env.DOCKER_HOST ?? DEFAULT_HOST;
  try {
    return { name, docker: connect(name, { answerTimeoutMs: 0, sshOpts: sshOptsOf(inputs) }) };
  } catch (error) {
    throw new UserError(messageOf(error));
  }
}

/** Pulumi passes lists to providers as JSON. */
function sshOptsOf({ sshOpts }: WireMap): string[] | undefined {
  if (sshOpts === undefined || sshOpts === null) return undefined;
  return texts(typeof sshOpts === "string" ? (JSON.parse(sshOpts) as Wire) : sshOpts);
}

/** Clients by their provider's inputs. Each host is pinged once. */
export class Hosts {
  private readonly known = new Map<string, Promise<Host>>();

  /** Undefined while the host is unknown. */
  get(inputs: WireMap): Promise<Host> | undefined {
    if (hasUnknown(inputs)) return undefined;
    const key = JSON.stringify(inputs);
    let host = this.known.get(key);
    if (!host) {
      host = this.reach(inputs);
      this.known.set(key, host);
    }
    return host;
  }

  private async reach(inputs: WireMap): Promise<Host> {
    const host = connectTo(inputs);
    try {
      await host.docker.ping();
    } catch (error) {
      throw new Unreachable(
        `No Docker Engine answers at ${host.name} (${messageOf(error)}): start it, or correct the provider's host or DOCKER_HOST.`,
      );
    }
    return host;
  }
}
