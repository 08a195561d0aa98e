//! Who came, went, or took another name.

import { type LogEntry } from "../log-entry.ts";
import { type Names } from "./names.ts";
import type { NoticeEntry } from "../../view.ts";

/** The notice in `entry`; `undefined` when it is none, or says nothing new. */
export function drawNotice(entry: LogEntry, key: string, names: Names): NoticeEntry | undefined {
  const { seq, atMs, content, header } = entry;
  if (header === undefined || (content.kind !== "profile" && content.kind !== "leave")) return undefined;
  const { device } = header;
  const authorName = names.at(device, seq);
  const drawn = {
    kind: "notice" as const,
    key,
    seq,
    atMs,
    author: device,
    authorName,
    fingerprint: names.mark(device, authorName),
  };
  if (content.kind === "leave") return { ...drawn, what: "left", previousName: null };
  if (content.joined) return { ...drawn, what: "joined", previousName: null };
  // In each new epoch everybody introduces themselves again. That is news only where it is known to be another name.
  const previousName = names.before(device, seq);
  if (previousName === undefined || previousName === content.name) return undefined;
  return { ...drawn, what: "renamed", previousName };
}
