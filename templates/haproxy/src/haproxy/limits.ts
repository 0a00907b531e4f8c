/** What the machine allows HAProxy, which has the limits of this process, and what its release is able to do. */
import { execFile } from "node:child_process";

/** From /proc/self/limits: how many files at most; undefined where it is not bounded. */
export function hardFileLimit(limits: string): number | undefined {
  const [, hard] = /^Max open files +\S+ +(\d+) /m.exec(limits) ?? [];
  return hard === undefined ? undefined : Number(hard);
}

/** From what `haproxy -v` prints: whether that release makes backends while it runs, as 3.4 and later do. */
export function releaseMakesBackends(printed: string): boolean {
  const [, major, minor] = /^HAProxy version (\d+)\.(\d+)/m.exec(printed) ?? [];
  return Number(major) > 3 || (Number(major) === 3 && Number(minor) >= 4);
}

/** The same of the HAProxy that is installed here, for who has no running one to ask. */
export const installedMakesBackends = (): Promise<boolean> =>
  new Promise((resolve) => {
    execFile("haproxy", ["-v"], (error, printed) => {
      resolve(error === null && releaseMakesBackends(printed));
    });
  });
