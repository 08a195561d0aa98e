/** What all strings are worded with. */

export const LANGUAGE = "en";

export const listing = new Intl.ListFormat(LANGUAGE, { type: "conjunction" });

const NAMED_MAX = 10;

/** The names, or the first of many and how many more. */
export function few(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  return listing.format(more > 1 ? [...names.slice(0, NAMED_MAX), count(more, "other", "others")] : names);
}

export function count(n: number, one: string, many: string): string {
  return `${n.toLocaleString(LANGUAGE)} ${n === 1 ? one : many}`;
}
