import { existsSync, readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";

import { SwarmFile, type FileKind } from "../providers/swarm-file";
import type { FileInputs } from "../providers/swarm-service/container";
import { mostBytes, type ConfigFile, type FileReference } from "./config/files";
import type { ServiceConfig } from "./config/services";
import { configError } from "./schema";
import type { SwarmCluster } from "./swarm-cluster";

export interface SwarmFilesArgs {
  readonly services: readonly ServiceConfig[];
  readonly secrets: Readonly<Record<string, string>>;
  readonly configs: Readonly<Record<string, ConfigFile>>;
  readonly swarm: SwarmCluster;
}

/** The secrets and configs of the stack that services mount. The content of neither is in plain text in the state. */
export class SwarmFiles {
  private readonly files = new Map<string, SwarmFile>();

  /** @throws UserError if the file of a config does not exist, or is too large */
  constructor({ services, secrets, configs, swarm }: SwarmFilesArgs) {
    const contents: Readonly<Record<FileKind, (name: string) => Buffer>> = {
      secrets: (name) => Buffer.from(secrets[name] ?? ""),
      configs: (name) => contentOf(name, configs[name] ?? {}),
    };
    for (const kind of ["secrets", "configs"] as const) {
      const used = new Set(services.flatMap((service) => service[kind].map(({ source }) => source)));
      for (const name of used) {
        const { manager: host, sshOpts, swarmId } = swarm;
        const file = new SwarmFile(
          `${kind}-${name}`,
          {
            kind,
            host,
            sshOpts,
            swarmId,
            prefix: `${pulumi.getStack()}_${name}`,
            content: pulumi.secret(contents[kind](name).toString("base64")),
          },
          { dependsOn: swarm },
        );
        this.files.set(`${kind}-${name}`, file);
      }
    }
  }

  /** What a service mounts. */
  of(service: ServiceConfig): Partial<Record<FileKind, pulumi.Output<FileInputs[]>>> {
    const mounted = (kind: FileKind) =>
      service[kind].length === 0
        ? {}
        : { [kind]: pulumi.all(service[kind].map((reference) => this.inputs(kind, reference))) };
    return { ...mounted("secrets"), ...mounted("configs") };
  }

  private inputs(kind: FileKind, { source, ...reference }: FileReference): pulumi.Output<FileInputs> {
    const file = this.files.get(`${kind}-${source}`);
    if (file === undefined) throw new Error(`${kind} has no ${source}`);
    return pulumi.all([file.id, file.fileName]).apply(([id, name]) => ({ id, name, ...reference }));
  }
}

function contentOf(name: string, { file, content }: ConfigFile): Buffer {
  if (file !== undefined && !existsSync(file))
    throw configError(
      `configs.${name}.file`,
      `is ${file}, which does not exist`,
      "create it, or correct the path",
    );
  const bytes = file === undefined ? Buffer.from(content ?? "") : readFileSync(file);
  if (bytes.length === 0 || bytes.length > mostBytes)
    throw configError(`configs.${name}`, `has ${bytes.length} bytes`, "Docker takes 1 byte to 500 KiB");
  return bytes;
}
