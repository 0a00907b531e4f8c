import { hostPort } from "../../../../lib/tcp";
import { dockerCheckName } from "../service/checks";
import { originKey } from "../../../../routing/shared-ports";
import type { ActualService, Check, Registration, Service } from "../types";

/** The writes that bring the agent in line with Docker. Usually none, so no watcher of Consul wakes up. */
export interface Plan {
  readonly register: readonly { readonly service: Service; readonly reason: string }[];
  readonly update: readonly { readonly service: Service; readonly from: string }[];
  readonly remove: readonly { readonly id: string; readonly name: string; readonly container: string }[];
}

export function plan(
  desired: ReadonlyMap<string, Service>,
  actual: ReadonlyMap<string, ActualService>,
  hostname: string,
): Plan {
  const register: { service: Service; reason: string }[] = [];
  const update: { service: Service; from: string }[] = [];
  for (const [id, service] of desired) {
    const found = actual.get(id);
    const reason = found ? difference(service, found) : "it was missing in Consul";
    if (reason) register.push({ service, reason });
    else if (service.health && found?.check && found.check.status !== service.health) {
      update.push({ service, from: found.check.status });
    }
  }
  const remove = [...actual.values()]
    .filter((found) => isOurs(found, hostname) && !desired.has(found.registration.ID))
    .map(({ registration }) => ({
      id: registration.ID,
      name: registration.Name,
      container: containerOf(registration, hostname),
    }));
  return { register, update, remove };
}

/** Whether a Registrator on this node registered the service: its ID, or the mark beside its SERVICE_ID, says so. */
export function isOurs({ registration }: ActualService, hostname: string): boolean {
  return [registration.ID, registration.Meta[originKey]].some(
    (id) => id !== undefined && hasOurForm(id, hostname),
  );
}

function containerOf({ ID: id, Meta: meta }: Pick<Registration, "ID" | "Meta">, hostname: string): string {
  const own = hasOurForm(id, hostname) ? id : (meta[originKey] ?? id);
  return own.slice(hostname.length + 1).split(":")[0] ?? "";
}

export function hasOurForm(id: string, hostname: string): boolean {
  return (
    id.startsWith(`${hostname}:`) &&
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]*:\d+(:(udp|sctp))?$/.test(id.slice(hostname.length + 1))
  );
}

function difference(service: Service, actual: ActualService): string | undefined {
  const want = service.registration;
  const have = actual.registration;
  if (want.Name !== have.Name) return `its name was ${have.Name}`;
  if (want.Address !== have.Address || want.Port !== have.Port) {
    return `its address was ${hostPort(have.Address, have.Port)}`;
  }
  if (JSON.stringify([...want.Tags].sort()) !== JSON.stringify([...have.Tags].sort()))
    return "its tags differed";
  // The meta also contains every option of the check (check_http, check_interval …), as in the original Registrator.
  if (!sameMeta(want.Meta, have.Meta)) return "its meta differed";
  if (Boolean(want.Check) !== Boolean(actual.check)) return "its check differed";
  if (want.Check && actual.check && !sameCheck(want.Check, actual.check)) return "its check differed";
  return undefined;
}

function sameMeta(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key])
  );
}

function sameCheck(want: Check, have: NonNullable<ActualService["check"]>): boolean {
  const isDocker = want.Name === dockerCheckName;
  if (isDocker !== (have.name === dockerCheckName)) return false;
  // Older agents do not report a check's type.
  return !have.type || have.type === typeOf(want);
}

function typeOf(check: Check): string {
  if (check.HTTP) return "http";
  if (check.TCP) return "tcp";
  if (check.GRPC) return "grpc";
  return check.Args ? "script" : "ttl";
}
