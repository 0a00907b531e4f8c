/** The HAProxy process as the renderer's thread sees it. */
import type { HaproxyControl } from "../haproxy/control";
import type { AboutHaproxy, FromRenderer, HaproxyStatus } from "./messages";

type Answer = (failure: string | undefined) => void;

export class RemoteHaproxy implements HaproxyControl {
  /** Calls of `load` that wait for their answer. Answers come in the order of the calls. */
  private readonly waiting: Answer[] = [];

  constructor(
    private status: HaproxyStatus,
    private readonly tell: (message: FromRenderer) => void,
  ) {}

  get running(): boolean {
    return this.status.running;
  }

  get ports(): ReadonlySet<number> {
    return this.status.ports;
  }

  load(ports: ReadonlySet<number>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push((failure) => {
        if (failure === undefined) resolve();
        else reject(new Error(failure));
      });
      this.tell({ kind: "load", ports });
    });
  }

  /** Takes in what the main thread says about HAProxy. */
  receive(message: AboutHaproxy): void {
    this.status = message.status;
    if (message.kind === "loaded") this.waiting.shift()?.(message.failure);
  }
}
