/** What the autoscaler has decided, read when somebody asks. */
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { parseStatus, type ScalingStatus } from "../../../../routing/scaling/status";
import type { Consul } from "../consul/client";
import { Failure } from "./failure";

/** Those who look at the page several times a second share an answer. */
const freshMs = 1_000;

export interface DecisionsOptions {
  readonly consul: Pick<Consul, "read">;
  /** Whether there is an autoscaler. */
  readonly exists: () => boolean;
  readonly log: (message: string) => void;
}

export class Decisions {
  private lastGood: ScalingStatus | undefined;
  private reading: Promise<void> | undefined;
  private readAt = -Infinity;
  private readonly failure: Failure;

  constructor(private readonly options: DecisionsOptions) {
    this.failure = new Failure(options.log);
  }

  /** The last usable value; undefined without an autoscaler. */
  async latest(): Promise<ScalingStatus | undefined> {
    if (!this.options.exists()) {
      this.lastGood = undefined;
      return undefined;
    }
    if (performance.now() - this.readAt >= freshMs)
      this.reading ??= this.read().finally(() => {
        this.readAt = performance.now();
        this.reading = undefined;
      });
    await this.reading;
    return this.lastGood;
  }

  private async read(): Promise<void> {
    try {
      const value = await this.options.consul.read(scalingKeys.status);
      const parsed = value === undefined ? undefined : parseStatus(value);
      if (parsed?.ok === false) throw new Error(`The KV value of ${scalingKeys.status} ${parsed.error}`);
      if (parsed !== undefined) this.lastGood = parsed.value;
      this.failure.ends();
    } catch (error) {
      this.failure.begins(`What the autoscaler has decided cannot be read: ${messageOf(error)}`);
    }
  }
}
