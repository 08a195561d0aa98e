/** What all strings are worded with. */

export const LANGUAGE = "en";

export const listing = new Intl.ListFormat(LANGUAGE, { type: "conjunction" });

export function count(n: number, one: string, many: string): string {
  return `${n.toLocaleString(LANGUAGE)} ${n === 1 ? one : many}`;
}
