/** `1 route`, `2 routes`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

const shown = 6;

/** The items in one line, at most six of them: `a, b, c, d, e, f and 3 more`. */
export const some = (items: readonly string[]): string =>
  items.length <= shown
    ? items.join(", ")
    : `${items.slice(0, shown).join(", ")} and ${items.length - shown} more`;

/** Orders strings by their code units, for `sort`: the same everywhere, whatever the locale. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
