/** What the machine allows HAProxy, which has the limits of this process. */

/** From /proc/self/limits: how many files at most; undefined where it is not bounded. */
export function hardFileLimit(limits: string): number | undefined {
  const [, hard] = /^Max open files +\S+ +(\d+) /m.exec(limits) ?? [];
  return hard === undefined ? undefined : Number(hard);
}
