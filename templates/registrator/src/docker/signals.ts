import { constants } from "node:os";

const numbers: Readonly<Record<string, number>> = constants.signals;

/** `SIGTERM`, `TERM`, `15` and `SIGRTMIN+3` as the number that the engine's kill event carries. */
export function signalNumber(signal: string): number | undefined {
  const text = signal.trim().toUpperCase().replace(/^SIG/, "");
  if (/^\d+$/.test(text)) return Number(text);
  const realtime = /^RTM(IN|AX)([+-]\d+)?$/.exec(text);
  if (realtime) return (realtime[1] === "IN" ? 34 : 64) + Number(realtime[2] ?? 0);
  return numbers[`SIG${text}`];
}

/**
 * Whether a signal means that the container is about to end. SIGHUP, SIGUSR1 or SIGQUIT (a thread dump) do not, unless the
 * image declares that signal as its STOPSIGNAL.
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
