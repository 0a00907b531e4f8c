import { once } from "node:events";
import { messageOf } from "../../../../lib/errors";
import type { ContainerEvent, Docker } from "./client";

export interface Follower {
  /** The event stream is open. Events before this moment may have been missed. */
  readonly connected: () => void;
  readonly event: (event: ContainerEvent) => void;
  readonly disconnected: () => void;
}

const retryMs = { first: 100, most: 5_000 };

/** Follows Docker's event stream and reconnects when it ends, until `signal` aborts. */
export async function follow(
  docker: Pick<Docker, "connect" | "events">,
  follower: Follower,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const aborted = once(signal, "abort");
  const isOver = () => signal.aborted;
  let delayMs = retryMs.first;
  let isReported = false;
  while (!isOver()) {
    try {
      const engine = await docker.connect();
      const { closed } = await docker.events(follower.event);
      log(`following the events of Docker ${engine}`);
      delayMs = retryMs.first;
      isReported = false;
      follower.connected();
      await Promise.race([closed, aborted]);
      if (!isOver()) log("Docker closed the event stream; reconnecting");
    } catch (error) {
      if (!isReported)
        log(`Docker does not answer (${messageOf(error)}); keeping all services until it does`);
      isReported = true;
    }
    follower.disconnected();
    await Promise.race([pause(delayMs), aborted]);
    delayMs = Math.min(delayMs * 2, retryMs.most);
  }
}

const pause = (pauseMs: number) => new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
