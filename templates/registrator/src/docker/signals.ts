import { constants } from "node:os";

const numbers: Readonly<Record<string, number>> = constants.signals;

/** The number of a signal given as `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3`; undefined if it is none of these. */
export function signalNumber(signal: string): number | undefined {
  const text = signal.trim().toUpperCase().replace(/^SIG/, "");
  if (/^\d+$/.test(text)) return Number(text);
  const realtime = /^RTM(IN|AX)([+-]\d+)?$/.exec(text);
  if (realtime) return (realtime[1] === "IN" ? 34 : 64) + Number(realtime[2] ?? 0);
  return numbers[`SIG${text}`];
}

/**
 * Whether a signal is meant to end the container: SIGTERM, SIGINT, SIGKILL or its own STOPSIGNAL. SIGHUP, SIGUSR1 and
 * SIGQUIT (a thread dump) are not.
 */
export function endsContainer(signal: string, stopSignal = "SIGTERM"): boolean {
  const number = signalNumber(signal);
  if (number === undefined) return false;
  return [numbers.SIGINT, numbers.SIGKILL, numbers.SIGTERM, signalNumber(stopSignal)].includes(number);
}

export function signalName(signal: string): string {
  const number = signalNumber(signal);
  return Object.keys(numbers).find((name) => numbers[name] === number) ?? `signal ${signal}`;
}
