/** `1 route`, `2 routes`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

const shown = 6;

/** The items in one line, at most six of them: `a, b, c, d, e, f and 3 more`. */
export const some = (items: readonly string[]): string =>
  items.length <= shown
    ? items.join(", ")
    : `${items.slice(0, shown).join(", ")} and ${items.length - shown} more`;
