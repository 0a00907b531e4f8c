/** The limits of this process, which HAProxy inherits. */

/** How many files HAProxy may open, read from the text of /proc/self/limits; undefined without a bound. */
export function hardFileLimit(limits: string): number | undefined {
  const [, hard] = /^Max open files +\S+ +(\d+) /m.exec(limits) ?? [];
  return hard === undefined ? undefined : Number(hard);
}
