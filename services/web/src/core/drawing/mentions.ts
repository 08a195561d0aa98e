//! Whom a text names.

import { type Names } from "./names.ts";
import type { MessageEntry } from "../../view.ts";

/**
 * The `devices` that a message at `seq` mentions, each by the name that stands in the text: a member may have taken another
 * one since. `seq` is null while it is on its way.
 */
export function mentionsIn(
  text: string,
  devices: readonly string[],
  seq: number | null,
  names: Names,
): MessageEntry["mentions"] {
  return [...new Set(devices)].map((device) => {
    const then = seq === null ? names.newest(device) : names.at(device, seq);
    const written = [then, ...names.all(device)].filter((name) => text.includes(`@${name}`));
    // "@Ana Maria" names Ana Maria, though she was once called Ana.
    const longest = written.reduce((best, name) => (name.length > best.length ? name : best), "");
    return { device, name: longest === "" ? then : longest };
  });
}
