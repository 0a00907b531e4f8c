/** Tells the autoscaler about the requests of this load balancer, as long as there is an autoscaler. */
import { messageOf } from "../../../../lib/errors";
import { encodeFigures } from "../../../../routing/scaling/figures";
import { scalingKeys } from "../../../../routing/scaling/keys";
import type { Consul } from "../consul/client";
import { Failure } from "./failure";
import { Meter, type Reading } from "./meter";

const intervalMs = 2_000;

export interface FiguresOptions {
  /** The name of this machine in Consul. */
  readonly node: string;
  readonly consul: Pick<Consul, "write">;
  /** Consul's values in force. */
  readonly values: () => Readonly<Record<string, string>>;
  /** The index of those values. */
  readonly index: () => number;
  readonly read: () => Promise<Reading>;
  readonly log: (message: string) => void;
}

export class FiguresWriter {
  private meter = new Meter();
  /** Higher than those before a restart. */
  private sequence = Date.now();
  private timer: NodeJS.Timeout | undefined;
  private isWriting = false;
  private readonly failure: Failure;

  constructor(private readonly options: FiguresOptions) {
    this.failure = new Failure(options.log, "The autoscaler is told about requests again.");
  }

  start(): void {
    this.timer = setInterval(() => void this.write(), intervalMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  async write(): Promise<void> {
    const { node, consul, values, index, read } = this.options;
    if (this.isWriting) return;
    if (!Object.hasOwn(values(), scalingKeys.lock)) {
      this.meter = new Meter();
      return;
    }
    this.isWriting = true;
    try {
      const at = index();
      const services = this.meter.measure(await read(), performance.now());
      const text = encodeFigures({ sequence: ++this.sequence, index: at, services });
      await consul.write(scalingKeys.figures + node, text);
      this.failure.ends();
    } catch (error) {
      this.failure.begins(`The autoscaler cannot be told about requests: ${messageOf(error)}`);
    } finally {
      this.isWriting = false;
    }
  }
}
