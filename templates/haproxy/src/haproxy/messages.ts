/**
 * HAProxy's messages on standard error as lines of our log: one line for each event, with the service and the instance.
 * Other lines pass through.
 */
import { plural } from "../../../../lib/text";
import { originAt } from "../config/backend-pool";

/**
 * What needs no line: what every reload and every end writes, the steps of our own commands, which the log of changes tells
 * of, and a backend without servers, which the line about its last server tells of.
 */
const routine = [
  /^\[NOTICE\]/,
  /: (config : )?('server |backend '?\S+ has no server available!$|Proxy \S+ stopped )/,
  /: ((Former|Current) worker \S+ exited with code 0|All workers exited\. Exiting\.\.\. \(0\))/,
  // A reload restores what was known before.
  /: (config : )?Server \S+ is \S+, changed from server-state after a reload\./,
  /: Server \S+ (is \S+ \(leaving forced (maintenance|drain)\)|remains in forced drain mode)\./,
  // A client has cancelled a request that waited for a service to wake.
  /: Lua function 'hold': yield not allowed\./,
  // One that has a reason in brackets is not by our command.
  /: Server \S+ (is going DOWN for maintenance|was DOWN and now enters maintenance)\./,
];

/** What a message says about a server, whose name has no blank. Its counts of servers follow the last reason. */
const aboutServer =
  /^\[[A-Z]+\] +\(\d+\) : (?:Server )?([^\s/]+)\/(\S+?) (is (?:(UP|DOWN)(?:\/\S+)?, reason: |(UP|DOWN), )(.*?)\. (\d+) active and (\d+) backup servers (?:left|online)\..*|changed its (?:IP|FQDN) .*)$/;

/** Our commands add a server that has not answered as down, and set it up when it has. */
const byCommand: Readonly<Record<string, string>> = { DOWN: "does not answer yet", UP: "answers" };

/** How long a new server may take to answer without a line that it does not. */
const arrivalMs = 2_000;
const mostArrivals = 1_000;

/** Logs HAProxy's messages. A new server that answers soon has no line beside that of the change which adds it. */
export class MessageLog {
  private readonly arriving = new Map<string, NodeJS.Timeout>();

  constructor(private readonly log: (message: string) => void) {}

  add(line: string): void {
    const [, gone] =
      /^\[[A-Z]+\] +\(\d+\) : Server (\S+) was DOWN and now enters maintenance/.exec(line) ?? [];
    if (gone !== undefined) this.forget(gone);
    const said = sayMessage(line);
    const [, server, state] =
      /^\[[A-Z]+\] +\(\d+\) : Server (\S+) is (UP|DOWN), changed from CLI\./.exec(line) ?? [];
    if (said === undefined) return;
    if (server === undefined) this.log(said);
    else if (state === "UP") {
      if (!this.forget(server)) this.log(said);
    } else {
      this.forget(server);
      if (this.arriving.size >= mostArrivals) {
        this.log(said);
        return;
      }
      const late = setTimeout(() => {
        this.arriving.delete(server);
        this.log(said);
      }, arrivalMs);
      this.arriving.set(server, late.unref());
    }
  }

  /** Returns whether it was arriving. */
  private forget(server: string): boolean {
    clearTimeout(this.arriving.get(server));
    return this.arriving.delete(server);
  }
}

/** Undefined for a line that says nothing new. */
export function sayMessage(line: string): string | undefined {
  const [, backend = "", server = "", event = "", checked, state = checked, reason, active, backup] =
    aboutServer.exec(line) ?? [];
  if (event === "") return routine.some((each) => each.test(line)) ? undefined : `haproxy: ${line}`;
  const { service, instance } = instanceAt(backend, server);
  if (state === undefined || reason === undefined) return `${service} ${instance} ${event}`;
  const count = Number(active) + Number(backup);
  const up = count === 0 ? "no instance is" : `${plural(count, "instance")} ${count === 1 ? "is" : "are"}`;
  const says = reason === "changed from CLI" ? byCommand[state] : `is ${state}: ${reason}`;
  return `${service} ${instance} ${says ?? state} (${up} up)`;
}

/** By the names in the routing: a backend of the pool does not tell its service. */
function instanceAt(
  backend: string,
  server: string,
): { readonly service: string; readonly instance: string } {
  const origin = originAt(backend, server);
  return { service: origin.backend.replace(/^svc:/, "").replaceAll(":", "/"), instance: origin.server };
}
