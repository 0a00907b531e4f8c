import { stripVTControlCharacters } from "node:util";

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

/** Characters that a terminal interprets instead of showing: control characters, and those that change text direction. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One line, of which a terminal interprets nothing. */
export const escapeInvisible = (text: string): string =>
  text.replace(invisible, (c) => {
    const hex = (c.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
  });

/**
 * Lines of a container or another machine, such as its log, of which a terminal interprets nothing. Colours are removed, tabs become
 * spaces.
 */
export const escapeLines = (text: string): string =>
  stripVTControlCharacters(text).replaceAll("\t", "  ").split(/\r?\n/).map(escapeInvisible).join("\n");

/** Compares strings by code units, for `sort`, independently of the locale. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
