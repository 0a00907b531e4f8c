/** `1 route`, `2 routes`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

const shown = 6;

/** Lists at most six items on one line: `a, b, c, d, e, f and 3 more`. */
export const some = (items: readonly string[]): string =>
  items.length <= shown
    ? items.join(", ")
    : `${items.slice(0, shown).join(", ")} and ${items.length - shown} more`;

/** `encodeURIComponent` for text from elsewhere. It throws for a lone surrogate, which becomes U+FFFD here. */
export const encodeForeign = (text: string): string =>
  encodeURIComponent(text.replaceAll(/\p{Cs}/gu, "\ufffd"));

/** Compares strings by code units, for `sort`, independently of the locale. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
